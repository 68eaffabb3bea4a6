//! The decision of convergence: (desired, held, now) → what to do. Pure.

use common::ids::{Epoch, TabletId};
use common::rpc::master::Desired;
use common::schema::Table;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A desired tablet with its table.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As ordered.
    pub desired: Desired,
    /// [`Desired::table`].
    pub table: Arc<Table>,
}

/// All that a server should hold.
pub type WantedList = BTreeMap<TabletId, Wanted>;

/// A tablet as convergence sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// At which epoch.
    pub epoch: Epoch,
    /// What it does.
    pub doing: Doing,
    /// Not to be tried again before; a closed one is to be forgotten then.
    pub retry_at: Duration,
}

/// What a tablet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// A job opens, updates or closes it: wait for that.
    Busy,
    /// Serves; `behind`: orders say something that it has not been told.
    Open {
        /// See there.
        behind: bool,
    },
    /// Serves no longer and has to be closed whatever the orders say.
    ToClose,
    /// Closed at its epoch.
    Closed,
    /// Could not be opened.
    Failed,
}

/// One step of one tablet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open this desired tablet.
    Open(TabletId),
    /// Tell an open tablet what the desired list says of it.
    Update(TabletId),
    /// Close this tablet.
    Close(TabletId),
    /// Nothing is to be said of this tablet any more.
    Forget(TabletId),
}

/// What to do now, and when to look again if nothing happens before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// At most one a tablet.
    pub actions: Vec<Action>,
    /// The earliest retry.
    pub look_again: Option<Duration>,
}

impl Plan {
    fn at(&mut self, retry_at: Duration, now: Duration, action: Action) {
        if retry_at <= now {
            self.actions.push(action);
        } else {
            self.look_again = Some(self.look_again.map_or(retry_at, |at| at.min(retry_at)));
        }
    }
}

/// Decides the next step of every tablet.
#[must_use]
pub fn plan(wanted: &WantedList, held: &BTreeMap<TabletId, Held>, now: Duration) -> Plan {
    let mut out = Plan::default();
    for (&id, w) in wanted {
        let epoch = w.desired.epoch;
        let Some(held) = held.get(&id) else {
            out.actions.push(Action::Open(id));
            continue;
        };
        match held.doing {
            Doing::Busy => {}
            Doing::ToClose => out.at(held.retry_at, now, Action::Close(id)),
            // An owner's epochs only grow: a lower one is an order that was overtaken.
            _ if epoch < held.epoch => {}
            Doing::Open { .. } if epoch > held.epoch => out.at(held.retry_at, now, Action::Close(id)),
            Doing::Open { behind: true } => out.at(held.retry_at, now, Action::Update(id)),
            // What was reported closed at an epoch may be another server's by now: only a higher one opens it again.
            Doing::Open { behind: false } => {}
            Doing::Closed if epoch == held.epoch => {}
            Doing::Closed => out.actions.push(Action::Open(id)),
            Doing::Failed if epoch > held.epoch => out.actions.push(Action::Open(id)),
            Doing::Failed => out.at(held.retry_at, now, Action::Open(id)),
        }
    }
    for (id, held) in held.iter().filter(|(id, _)| !wanted.contains_key(id)) {
        match held.doing {
            Doing::Open { .. } | Doing::ToClose => out.at(held.retry_at, now, Action::Close(*id)),
            Doing::Failed => out.actions.push(Action::Forget(*id)),
            Doing::Closed => out.at(held.retry_at, now, Action::Forget(*id)),
            Doing::Busy => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::TableId;
    use common::key::KeyRange;
    use common::schema::{TableKind, TableSpec};

    const NOW: Duration = Duration::from_secs(100);
    const LATER: Duration = Duration::from_secs(101);

    fn wanted(id: u64, epoch: u64) -> (TabletId, Wanted) {
        let table = Arc::new(Table::create(TableId(1), TableKind::Raw, TableSpec::named("a.b")).unwrap());
        let (tablet, epoch, range) = (TabletId(id), Epoch(epoch), KeyRange::ALL);
        let (runs, aborted, fences) = (Vec::new(), Vec::new(), Vec::new());
        let desired = Desired { tablet, range, epoch, table: table.id, pin: None, runs, aborted, fences, split: None, flush: None };
        (tablet, Wanted { desired, table })
    }

    fn next(desired: Option<u64>, doing: Doing, retry_at: Duration) -> Plan {
        let held = BTreeMap::from([(TabletId(1), Held { epoch: Epoch(5), doing, retry_at })]);
        plan(&desired.map(|e| wanted(1, e)).into_iter().collect(), &held, NOW)
    }

    fn only(action: Action) -> Plan {
        Plan { actions: vec![action], look_again: None }
    }

    #[test]
    fn missing_tablets_are_opened_and_surplus_ones_closed() {
        assert_eq!(plan(&WantedList::from([wanted(1, 5)]), &BTreeMap::new(), NOW), only(Action::Open(TabletId(1))));
        assert_eq!(next(None, Doing::Open { behind: false }, NOW), only(Action::Close(TabletId(1))));
        assert_eq!(next(None, Doing::ToClose, NOW), only(Action::Close(TabletId(1))));
        assert_eq!(next(None, Doing::Busy, NOW), Plan::default());
    }

    #[test]
    fn what_is_no_longer_desired_is_forgotten_once_it_was_long_reported() {
        assert_eq!(next(None, Doing::Failed, LATER), only(Action::Forget(TabletId(1))));
        assert_eq!(next(None, Doing::Closed, NOW), only(Action::Forget(TabletId(1))));
        assert_eq!(next(None, Doing::Closed, LATER), Plan { actions: Vec::new(), look_again: Some(LATER) });
    }

    #[test]
    fn a_tablet_at_its_epoch_is_only_kept_up_to_date() {
        assert_eq!(next(Some(5), Doing::Open { behind: false }, NOW), Plan::default());
        assert_eq!(next(Some(5), Doing::Open { behind: true }, NOW), only(Action::Update(TabletId(1))));
    }

    #[test]
    fn a_closed_tablet_is_opened_again_only_at_a_higher_epoch() {
        assert_eq!(next(Some(5), Doing::Closed, NOW), Plan::default());
        assert_eq!(next(Some(6), Doing::Closed, NOW), only(Action::Open(TabletId(1))));
        assert_eq!(next(Some(6), Doing::Open { behind: false }, NOW), only(Action::Close(TabletId(1))));
        assert_eq!(next(Some(4), Doing::Open { behind: true }, NOW), Plan::default(), "an overtaken order");
    }

    #[test]
    fn failures_wait_for_their_retry_unless_the_epoch_is_new() {
        let waits = Plan { actions: Vec::new(), look_again: Some(LATER) };
        assert_eq!(next(Some(5), Doing::Failed, LATER), waits);
        assert_eq!(next(Some(5), Doing::Failed, NOW), only(Action::Open(TabletId(1))));
        assert_eq!(next(Some(6), Doing::Failed, LATER), only(Action::Open(TabletId(1))));
        assert_eq!(next(Some(5), Doing::ToClose, LATER), waits);
        assert_eq!(next(Some(5), Doing::Open { behind: true }, LATER), waits);
    }
}
