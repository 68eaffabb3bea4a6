//! Keyed lists that two sides keep equal by sending what changed: tablets' reports, desired lists, the catalog.
//!
//! A [`Ledger`] is the side that knows: it numbers its changes and tells what has changed since a version. A [`Replica`] is
//! the side that follows: it takes [`Changes`] that begin at or before the version it has, and refuses others, so that a lost
//! message leaves it behind but never wrong. What it has it says now and then; the ledger's side then sends what is missing,
//! all of it if it does not remember that far back.
//!
//! Changes name every key touched since their base with its newest value, not the difference of two states: so they may be
//! taken twice, or by a replica that is further than their base.

mod ledger;
mod replica;
#[cfg(test)]
mod tests;

pub use ledger::Ledger;
pub use replica::{Gap, Replica};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An item of a list that is known by a key of its own.
pub trait Keyed {
    /// What tells items of one list apart.
    type Key: Clone + fmt::Debug + Ord + Serialize + DeserializeOwned;

    /// This item's.
    fn key(&self) -> Self::Key;
}

impl<T: Keyed> Keyed for std::sync::Arc<T> {
    type Key = T::Key;

    fn key(&self) -> T::Key {
        T::key(self)
    }
}

/// What changes in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Serialize", deserialize = "T: DeserializeOwned"))]
pub struct Part<T: Keyed> {
    /// Items that are new or other than before.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub put: Vec<T>,
    /// Items that are no more.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<T::Key>,
}

impl<T: Keyed> Default for Part<T> {
    fn default() -> Self {
        Self { put: Vec::new(), gone: Vec::new() }
    }
}

impl<T: Keyed> Part<T> {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }
}

/// What brings a list from one version to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Serialize", deserialize = "T: DeserializeOwned"))]
pub struct Changes<T: Keyed> {
    /// Whoever has this version or a later one can take them; `None`: the whole list, whatever it was before.
    pub base: Option<u64>,
    /// The version afterwards.
    pub version: u64,
    /// What changes.
    pub part: Part<T>,
}

impl<T: Keyed> Changes<T> {
    /// The whole list.
    #[must_use]
    pub fn whole(version: u64, items: Vec<T>) -> Self {
        Self { base: None, version, part: Part { put: items, gone: Vec::new() } }
    }
}
