//! Who holds what, to be asked from either side in the time of the answer.

use common::ids::{Epoch, TabletId};
use common::objects::{Referrer, SstableName};
use imbl::OrdSet;
use serde::{Deserialize, Serialize};

/// What can be held.
pub(super) trait Held: Copy + Ord {
    /// Nothing comes before it.
    const LEAST: Self;
}

impl Held for TabletId {
    const LEAST: Self = Self(0);
}

impl Held for SstableName {
    const LEAST: Self = Self { home: TabletId(0), epoch: Epoch(0), number: 0 };
}

/// The least referrer: tablets come before snapshots.
const FIRST: Referrer = Referrer::Tablet(TabletId(0));

/// Holds on things of one kind, by what is held and by who holds. Kept is the first; the second follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OrdSet<(T, Referrer)>", into = "OrdSet<(T, Referrer)>")]
#[serde(bound(serialize = "T: Held + Serialize", deserialize = "T: Held + Deserialize<'de>"))]
pub(super) struct Holds<T: Held> {
    by_held: OrdSet<(T, Referrer)>,
    by_holder: OrdSet<(Referrer, T)>,
}

impl<T: Held> Default for Holds<T> {
    fn default() -> Self {
        Self { by_held: OrdSet::new(), by_holder: OrdSet::new() }
    }
}

impl<T: Held> From<OrdSet<(T, Referrer)>> for Holds<T> {
    fn from(by_held: OrdSet<(T, Referrer)>) -> Self {
        let by_holder = by_held.iter().map(|(held, referrer)| (referrer.clone(), *held)).collect();
        Self { by_held, by_holder }
    }
}

impl<T: Held> From<Holds<T>> for OrdSet<(T, Referrer)> {
    fn from(holds: Holds<T>) -> Self {
        holds.by_held
    }
}

impl<T: Held> Holds<T> {
    pub(super) fn insert(&mut self, held: T, referrer: &Referrer) {
        self.by_held.insert((held, referrer.clone()));
        self.by_holder.insert((referrer.clone(), held));
    }

    pub(super) fn remove(&mut self, held: T, referrer: &Referrer) {
        self.by_held.remove(&(held, referrer.clone()));
        self.by_holder.remove(&(referrer.clone(), held));
    }

    /// Ends all holds of a referrer.
    pub(super) fn drop_of(&mut self, referrer: &Referrer) {
        let held: Vec<_> = self.of(referrer).collect();
        held.into_iter().for_each(|held| self.remove(held, referrer));
    }

    /// What a referrer holds, rising.
    pub(super) fn of(&self, referrer: &Referrer) -> impl Iterator<Item = T> {
        self.by_holder.range((referrer.clone(), T::LEAST)..).take_while(move |(holder, _)| holder == referrer).map(|(_, held)| *held)
    }

    /// All tablets' parts of a snapshot that hold something.
    pub(super) fn snapshots(&self, snapshot: &str) -> Vec<Referrer> {
        let first = Referrer::Snapshot { name: snapshot.to_owned(), tablet: TabletId(0) };
        let holders = self.by_holder.range((first, T::LEAST)..).map(|(holder, _)| holder);
        let mut parts: Vec<_> = holders.take_while(|h| matches!(h, Referrer::Snapshot { name, .. } if name == snapshot)).cloned().collect();
        parts.dedup();
        parts
    }

    /// Whether anybody holds it.
    pub(super) fn holds(&self, held: T) -> bool {
        self.first_from(held) == Some(held)
    }

    /// The first one held that is not before `held`.
    pub(super) fn first_from(&self, held: T) -> Option<T> {
        self.by_held.range((held, FIRST)..).next().map(|(held, _)| *held)
    }
}
