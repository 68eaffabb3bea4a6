//! From the tablets held to the tablets desired, level-triggered: whenever the list or a tablet changes,
//! everything is looked at anew, so that a lost order or a failed step costs a retry and nothing else.

mod plan;
mod worker;

pub use plan::{Action, Doing, Held, plan};
pub use worker::{close_all, run};

use common::rpc::master::Desired;
use common::schema::Table;
use std::sync::Arc;

/// A desired tablet with its table shared.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As ordered.
    pub desired: Desired,
    /// `desired.table`.
    pub table: Arc<Table>,
}

impl From<Desired> for Wanted {
    fn from(desired: Desired) -> Self {
        Self { table: Arc::new(desired.table.clone()), desired }
    }
}
