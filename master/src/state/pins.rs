//! Who holds SSTables of other tablets: what clones, splits, merges and snapshots live on.

use super::ClusterState;
use super::holds::Holds;
use common::ids::{Epoch, TabletId};
use common::objects::{Referrer, SstableName};
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// All holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// Holds on everything of a home, what is to come included.
    whole: Holds<TabletId>,
    /// Holds on single SSTables.
    objects: Holds<SstableName>,
}

impl Pins {
    /// Holds all of a home.
    pub(super) fn pin_home(&mut self, home: TabletId, referrer: &Referrer) {
        self.whole.insert(home, referrer);
    }

    /// The referrer holds exactly these from now on; its own need no hold.
    pub(super) fn narrow(&mut self, referrer: &Referrer, objects: &[SstableName]) {
        self.whole.drop_of(referrer);
        self.objects.drop_of(referrer);
        self.hold_too(referrer, objects);
    }

    /// The referrer holds none of these any more.
    pub(super) fn release(&mut self, referrer: &Referrer, objects: &[SstableName]) {
        objects.iter().for_each(|name| self.objects.remove(*name, referrer));
    }

    /// The referrer holds these, beside what it does already.
    pub(super) fn hold_too(&mut self, referrer: &Referrer, objects: &[SstableName]) {
        foreign(referrer, objects).for_each(|name| self.objects.insert(*name, referrer));
    }

    /// A snapshot holds nothing any more.
    pub(super) fn let_go(&mut self, snapshot: &str) {
        for referrer in self.whole.snapshots(snapshot).into_iter().chain(self.objects.snapshots(snapshot)) {
            self.narrow(&referrer, &[]);
        }
    }

    /// Whether narrowing a referrer to these would change nothing.
    #[must_use]
    pub fn is_narrow(&self, referrer: &Referrer, objects: &[SstableName]) -> bool {
        let wanted: BTreeSet<_> = foreign(referrer, objects).copied().collect();
        self.objects.of(referrer).eq(wanted) && self.whole.of(referrer).next().is_none()
    }

    /// Whether anybody holds anything of this home.
    #[must_use]
    pub fn hold(&self, home: TabletId) -> bool {
        let first = SstableName { home, epoch: Epoch(0), number: 0 };
        self.whole.holds(home) || self.objects.first_from(first).is_some_and(|name| name.home == home)
    }
}

/// Those that are not the referrer's own.
fn foreign<'a>(referrer: &Referrer, objects: &'a [SstableName]) -> impl Iterator<Item = &'a SstableName> {
    objects.iter().filter(move |name| *referrer != Referrer::Tablet(name.home))
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
        if self.pins.whole.holds(home) {
            return Ok(Vec::new());
        }
        Ok(objects.iter().filter(|name| name.home == home && !self.pins.objects.holds(**name)).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Pins {
        fn holds_of(&self, referrer: &Referrer) -> bool {
            !self.is_narrow(referrer, &[])
        }
    }

    const fn name(home: u64, number: u64) -> SstableName {
        SstableName { home: TabletId(home), epoch: Epoch(1), number }
    }

    #[test]
    fn a_hold_ends_when_its_referrer_names_the_object_no_more() {
        let mut pins = Pins::default();
        let (child, kept) = (Referrer::Tablet(TabletId(7)), Referrer::Snapshot { name: "s".into(), tablet: TabletId(1) });
        pins.pin_home(TabletId(1), &child);
        assert!(pins.hold(TabletId(1)) && pins.whole.holds(TabletId(1)) && !pins.hold(TabletId(2)));
        pins.narrow(&child, &[name(1, 1), name(1, 2), name(7, 1)]);
        pins.narrow(&kept, &[name(1, 2)]);
        assert!(!pins.whole.holds(TabletId(1)) && pins.objects.holds(name(1, 1)) && !pins.hold(TabletId(7)), "its own need no hold");
        assert!(pins.is_narrow(&child, &[name(1, 2), name(1, 1)]) && !pins.is_narrow(&child, &[name(1, 1)]));
        pins.release(&child, &[name(1, 1), name(1, 2)]);
        assert!(!pins.objects.holds(name(1, 1)) && pins.objects.holds(name(1, 2)) && pins.hold(TabletId(1)));
        pins.pin_home(TabletId(3), &kept);
        pins.narrow(&child, &[name(1, 1)]);
        pins.let_go("r");
        assert!(pins.holds_of(&kept) && pins.holds_of(&child));
        pins.let_go("s");
        assert!(!pins.holds_of(&kept) && pins.holds_of(&child));
        pins.narrow(&child, &[]);
        assert_eq!(pins, Pins::default());
    }
}
