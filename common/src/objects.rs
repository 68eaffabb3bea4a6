//! Which stored objects exist, by name, and whose manifests hold them.

use crate::ids::{Epoch, TabletId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An SSTable's name for ever; its owner deletes it, nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SstableName {
    /// The tablet that made it.
    pub home: TabletId,
    /// The epoch at which it was made.
    pub epoch: Epoch,
    /// Counts within the home tablet.
    pub number: u64,
}

/// Whose manifest names SSTables of other tablets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Referrer {
    /// A tablet: a clone, a part of a split one, or a merged one.
    Tablet(TabletId),
    /// A named snapshot of a tablet.
    Snapshot {
        /// The snapshot's name.
        name: String,
        /// The tablet.
        tablet: TabletId,
    },
}

impl fmt::Display for Referrer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tablet(tablet) => write!(f, "tablet {tablet}"),
            Self::Snapshot { name, tablet } => write!(f, "snapshot '{name}' of tablet {tablet}"),
        }
    }
}
