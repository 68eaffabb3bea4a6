//! Who holds SSTables of other tablets: what clones, splits, merges and snapshots live on.

use super::ClusterState;
use common::ids::{Epoch, TabletId};
use common::objects::{Referrer, SstableName};
use common::{Error, Result};
use imbl::OrdSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// All holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// Holds on everything of a home, what is to come included.
    whole: OrdSet<(TabletId, Referrer)>,
    /// Holds on single SSTables.
    objects: OrdSet<(SstableName, Referrer)>,
}

impl Pins {
    /// Holds all of a home.
    pub(super) fn pin_home(&mut self, home: TabletId, referrer: &Referrer) {
        self.whole.insert((home, referrer.clone()));
    }

    /// The referrer holds exactly these from now on; its own need no hold.
    pub(super) fn narrow(&mut self, referrer: &Referrer, objects: &[SstableName]) {
        let own = |name: &SstableName| *referrer == Referrer::Tablet(name.home);
        drop_if(&mut self.whole, |holder| holder == referrer);
        drop_if(&mut self.objects, |holder| holder == referrer);
        self.objects.extend(objects.iter().filter(|name| !own(name)).map(|name| (*name, referrer.clone())));
    }

    /// The referrer holds none of these any more.
    pub(super) fn release(&mut self, referrer: &Referrer, objects: &[SstableName]) {
        for name in objects {
            self.objects.remove(&(*name, referrer.clone()));
        }
    }

    /// The referrer holds these, beside what it does already.
    pub(super) fn hold_too(&mut self, referrer: &Referrer, objects: &[SstableName]) {
        let own = |name: &SstableName| *referrer == Referrer::Tablet(name.home);
        self.objects.extend(objects.iter().filter(|name| !own(name)).map(|name| (*name, referrer.clone())));
    }

    /// A snapshot holds nothing any more.
    pub(super) fn let_go(&mut self, snapshot: &str) {
        let is = |holder: &Referrer| matches!(holder, Referrer::Snapshot { name, .. } if name == snapshot);
        drop_if(&mut self.whole, is);
        drop_if(&mut self.objects, is);
    }

    /// Whether narrowing a referrer to these would change nothing.
    #[must_use]
    pub fn is_narrow(&self, referrer: &Referrer, objects: &[SstableName]) -> bool {
        let foreign: BTreeSet<_> = objects.iter().filter(|name| *referrer != Referrer::Tablet(name.home)).collect();
        let held: BTreeSet<_> = self.objects.iter().filter(|(_, holder)| holder == referrer).map(|(name, _)| name).collect();
        held == foreign && !self.whole.iter().any(|(_, holder)| holder == referrer)
    }

    /// Whether anybody holds anything of this home.
    #[must_use]
    pub fn hold(&self, home: TabletId) -> bool {
        self.holds_whole(home) || self.objects.range(first_of(home)..).next().is_some_and(|(name, _)| name.home == home)
    }

    fn holds_whole(&self, home: TabletId) -> bool {
        self.whole.iter().any(|(pinned, _)| *pinned == home)
    }

    fn holds(&self, name: &SstableName) -> bool {
        let from = (*name, Referrer::Tablet(TabletId(0)));
        self.objects.range(from..).next().is_some_and(|(held, _)| held == name)
    }
}

/// Takes out all holds of some referrers; without any, the set goes on sharing all of it.
fn drop_if<T: Ord + Clone>(holds: &mut OrdSet<(T, Referrer)>, is_over: impl Fn(&Referrer) -> bool) {
    let gone: Vec<_> = holds.iter().filter(|(_, holder)| is_over(holder)).cloned().collect();
    for hold in &gone {
        holds.remove(hold);
    }
}

/// The least of all holds on a home's SSTables: tablets come before snapshots.
fn first_of(home: TabletId) -> (SstableName, Referrer) {
    (SstableName { home, epoch: Epoch(0), number: 0 }, Referrer::Tablet(TabletId(0)))
}

impl ClusterState {
    /// Which of these SSTables of `home` nobody holds, for its owner at `epoch`.
    ///
    /// # Errors
    /// `Fenced` if `epoch` is not the home's newest: then somebody else decides.
    pub fn deletable(&self, home: TabletId, epoch: Epoch, objects: &[SstableName]) -> Result<Vec<SstableName>> {
        let newest = self.tablets.get(&home).map(|t| t.epoch).or_else(|| self.ended.get(&home).map(|e| e.epoch));
        let newest = newest.ok_or_else(|| Error::fenced(format!("tablet {home} has ended")))?;
        if newest > epoch {
            return Err(Error::fenced(format!("tablet {home}: epoch {epoch} is over, {newest} has begun")));
        }
        if self.pins.holds_whole(home) {
            return Ok(Vec::new());
        }
        Ok(objects.iter().filter(|name| name.home == home && !self.pins.holds(name)).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn name(home: u64, number: u64) -> SstableName {
        SstableName { home: TabletId(home), epoch: Epoch(1), number }
    }

    #[test]
    fn a_hold_ends_when_its_referrer_names_the_object_no_more() {
        let mut pins = Pins::default();
        let (child, kept) = (Referrer::Tablet(TabletId(7)), Referrer::Snapshot { name: "s".into(), tablet: TabletId(1) });
        pins.pin_home(TabletId(1), &child);
        assert!(pins.hold(TabletId(1)) && pins.holds_whole(TabletId(1)) && !pins.hold(TabletId(2)));
        pins.narrow(&child, &[name(1, 1), name(1, 2), name(7, 1)]);
        pins.narrow(&kept, &[name(1, 2)]);
        assert!(!pins.holds_whole(TabletId(1)) && pins.holds(&name(1, 1)) && !pins.hold(TabletId(7)), "its own need no hold");
        assert!(pins.is_narrow(&child, &[name(1, 2), name(1, 1)]) && !pins.is_narrow(&child, &[name(1, 1)]));
        pins.release(&child, &[name(1, 1), name(1, 2)]);
        assert!(!pins.holds(&name(1, 1)) && pins.holds(&name(1, 2)) && pins.hold(TabletId(1)));
        pins.narrow(&kept, &[]);
        assert_eq!(pins, Pins::default());
    }
}
