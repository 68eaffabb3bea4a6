//! What an operator asks for and sees.

use super::Load;
use crate::ids::{Epoch, Incarnation, ProcedureId, ServerId, TableId, TabletId};
use crate::key::KeyRange;
use crate::time::Micros;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A change of tablets that takes several steps, each of which a new leader goes on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "procedure", rename_all = "snake_case")]
pub enum Procedure {
    /// Gives a tablet to another server.
    Move {
        /// Which.
        tablet: TabletId,
        /// To whom; `None`: to whoever bears least.
        to: Option<ServerId>,
    },
    /// Cuts a tablet in two.
    Split {
        /// Which.
        tablet: TabletId,
        /// The first key of the upper part; `None`: its server chooses one.
        at: Option<Bytes>,
    },
    /// Makes one tablet of two neighbours.
    Merge {
        /// The lower and the upper one.
        tablets: [TabletId; 2],
    },
}

impl fmt::Display for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Move { tablet, to: None } => write!(f, "move tablet {tablet}"),
            Self::Move { tablet, to: Some(to) } => write!(f, "move tablet {tablet} to server {to}"),
            Self::Split { tablet, at: None } => write!(f, "split tablet {tablet}"),
            Self::Split { tablet, at: Some(at) } => write!(f, "split tablet {tablet} at '{}'", at.escape_ascii()),
            Self::Merge { tablets: [lower, upper] } => write!(f, "merge tablets {lower} and {upper}"),
        }
    }
}

/// A procedure as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcedureView {
    /// Its number.
    pub id: ProcedureId,
    /// What it does, in words.
    pub what: String,
    /// Who or what began it: `operator`, `drain`, `balance`, `size`, `load`, `cold`, `schedule`.
    pub why: String,
    /// `choosing`, `closing`, `deriving`, `flushing` or `copying` while it is under way; then `done` or `failed`.
    pub step: String,
    /// How far that step is, if that is known.
    pub progress: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub begun_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// Tablets that it has made.
    pub made: Vec<TabletId>,
}

/// A server as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// Its id.
    pub id: ServerId,
    /// Its newest life.
    pub incarnation: Incarnation,
    /// Whether that goes on.
    pub live: bool,
    /// Where its RPC listens.
    pub address: String,
    /// Whether it is being emptied, or kept empty.
    pub draining: bool,
    /// Tablets that it owns.
    pub tablets: u64,
    /// Bytes in their SSTables and memtables.
    pub bytes: u64,
    /// What clients do to them.
    pub load: Load,
    /// Requests that this life has made to the object store.
    #[serde(default)]
    pub requests: u64,
    /// Milliseconds since its last report came; `None`: the leader has heard none.
    pub silent_ms: Option<u64>,
}

/// A tablet as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TabletView {
    /// Its id.
    pub id: TabletId,
    /// Its table.
    pub table: TableId,
    /// The table's name.
    pub name: String,
    /// Its rows.
    pub range: KeyRange,
    /// Grows with every assignment.
    pub epoch: Epoch,
    /// Its owner; `None` while it waits for one.
    pub server: Option<ServerId>,
    /// `open`, `opening`, `closing`, `waiting`, or why it cannot be opened.
    pub state: String,
    /// Bytes in its SSTables and memtables.
    pub bytes: u64,
    /// What clients do to it.
    pub load: Load,
    /// The procedure that has it.
    pub procedure: Option<ProcedureId>,
}
