//! What a life has been told: the lease, the newest desired list, and how far reports were answered.

use crate::lease::Lease;
use crate::plan::{Wanted, WantedList};
use common::changes::Replica;
use common::ids::TabletId;
use common::rpc::master::{Desired, Orders};
use common::schema::Table;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Takes orders in, hands the desired list on.
#[derive(Debug)]
pub struct Mailbox {
    lease: Lease,
    list: Replica<Desired>,
    tables: Replica<Arc<Table>>,
    /// The list with its tables, as handed on last.
    wanted: Arc<WantedList>,
    /// The newest report whose tablets the leader of this stream has.
    heard: Option<u64>,
    fenced: bool,
    desired: watch::Sender<Option<Arc<WantedList>>>,
    /// The newest report sent and the newest one answered.
    progress: watch::Sender<(u64, u64)>,
}

impl Mailbox {
    /// Hands desired lists to `desired` and counts reports in `progress`: (newest sent, newest answered).
    #[must_use]
    pub fn new(desired: watch::Sender<Option<Arc<WantedList>>>, progress: watch::Sender<(u64, u64)>) -> Self {
        Self {
            lease: Lease::default(),
            list: Replica::default(),
            tables: Replica::default(),
            wanted: Arc::default(),
            heard: None,
            fenced: false,
            desired,
            progress,
        }
    }

    /// A stream begins: its master is to hear of all tablets.
    pub fn begin_stream(&mut self) {
        self.heard = None;
    }

    /// Notes that a report is sent.
    pub fn sent(&mut self, sequence: u64, now: Duration) {
        self.lease.sent(sequence, now);
        self.progress.send_modify(|p| p.0 = sequence);
    }

    /// The version of the desired list that it has; 0: none.
    #[must_use]
    pub fn order_version(&self) -> u64 {
        self.list.version().unwrap_or(0)
    }

    /// The newest report whose tablets the leader has; `None`: it is to hear of all of them.
    #[must_use]
    pub fn heard(&self) -> Option<u64> {
        self.heard
    }

    /// This life is over.
    pub fn fence(&mut self) {
        self.fenced = true;
    }

    /// Whether this life is over.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Takes orders, unless they are older than ones already taken; when the lease ends from now on.
    pub fn take(&mut self, orders: Orders) -> Option<Duration> {
        if !self.lease.answered(orders.answers, Duration::from_millis(orders.lease_ms), (orders.term, orders.applied)) {
            tracing::debug!(term = orders.term, applied = orders.applied, "older orders are ignored");
            return None;
        }
        self.heard = orders.heard;
        self.progress.send_modify(|p| p.1 = p.1.max(orders.answers));
        self.follow(orders);
        Some(self.lease.until())
    }

    /// Follows the lists. Changes that begin after what we have are left: our next report says what we have, and all that
    /// is missing is sent again.
    fn follow(&mut self, mut orders: Orders) {
        if !self.list.fits(&orders.desired) || !self.tables.fits(&orders.tables) {
            tracing::debug!(version = orders.desired.version, has = self.order_version(), "orders were lost: they are asked for again");
            return;
        }
        let first = self.list.version().is_none();
        // A table that comes again as it was stays the one that its tablets have: those compare theirs by address first.
        for table in &mut orders.tables.part.put {
            if let Some(had) = self.tables.get(&table.id).filter(|had| *had == table) {
                *table = had.clone();
            }
        }
        let (mut tablets, mut tables) = (BTreeSet::new(), BTreeSet::new());
        let seen = self.tables.take_seeing(orders.tables, |was, is| tables.extend(was.or(is).filter(|_| was != is).map(|t| t.id)));
        let seen = seen.and_then(|()| self.list.take_seeing(orders.desired, |was, is| tablets.extend(was.or(is).map(|d| d.tablet))));
        if seen.is_err() {
            return;
        }
        if !tables.is_empty() {
            tablets.extend(self.list.iter().filter(|d| tables.contains(&d.table)).map(|d| d.tablet));
        }
        if first || !tablets.is_empty() {
            self.hand_on(tablets);
        }
    }

    /// Hands the list on, in which these tablets may be others than before.
    fn hand_on(&mut self, tablets: BTreeSet<TabletId>) {
        let mut wanted = WantedList::clone(&self.wanted);
        for id in tablets {
            let desired = self.list.get(&id).cloned();
            // A list never names a table that it does not bring along.
            match desired.and_then(|desired| Some(Wanted { table: self.tables.get(&desired.table)?.clone(), desired })) {
                Some(one) => drop(wanted.insert(id, one)),
                None => drop(wanted.remove(&id)),
            }
        }
        self.wanted = Arc::new(wanted);
        self.desired.send_replace(Some(self.wanted.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::changes::{Changes, Part};
    use common::ids::{Epoch, TableId};
    use common::key::KeyRange;
    use common::schema::{TableKind, TableSpec};

    fn tablet(id: u64) -> Desired {
        Desired {
            tablet: TabletId(id),
            range: KeyRange::ALL,
            epoch: Epoch(1),
            table: TableId(1),
            pin: None,
            runs: Vec::new(),
            aborted: Vec::new(),
            fences: Vec::new(),
            split: None,
            flush: None,
        }
    }

    fn table(name: &str) -> Arc<Table> {
        Arc::new(Table::create(TableId(1), TableKind::Raw, TableSpec::named(name)).unwrap())
    }

    fn changes<T: common::changes::Keyed>(base: Option<u64>, version: u64, put: Vec<T>) -> Changes<T> {
        Changes { base, version, part: Part { put, gone: Vec::new() } }
    }

    fn orders(applied: u64, desired: Changes<Desired>, tables: Changes<Arc<Table>>) -> Orders {
        let (heard, fenced, others) = (Some(1), false, false);
        Orders { answers: 1, lease_ms: 2500, term: 1, applied, heard, desired, tables, fenced, others }
    }

    type Seen = watch::Receiver<Option<Arc<WantedList>>>;

    fn mailbox() -> (Mailbox, Seen) {
        let (desired, seen) = watch::channel(None);
        let mut mailbox = Mailbox::new(desired, watch::channel((0, 0)).0);
        mailbox.sent(1, Duration::from_secs(1));
        (mailbox, seen)
    }

    fn ids(seen: &Seen) -> Option<Vec<u64>> {
        seen.borrow().as_ref().map(|wanted| wanted.keys().map(|id| id.0).collect())
    }

    #[test]
    fn changes_without_what_they_begin_at_extend_the_lease_only() {
        let (mut mailbox, seen) = mailbox();
        let late = orders(1, changes(Some(2), 3, vec![tablet(1)]), changes(Some(2), 3, vec![table("a.b")]));
        assert_eq!(mailbox.take(late), Some(Duration::from_millis(3500)));
        assert_eq!((mailbox.order_version(), ids(&seen)), (0, None));
        mailbox.take(orders(2, changes(None, 4, vec![tablet(1)]), changes(None, 4, vec![table("a.b")])));
        assert_eq!((mailbox.order_version(), ids(&seen)), (4, Some(vec![1])));
        mailbox.take(orders(3, changes(Some(4), 6, vec![tablet(2)]), changes(Some(4), 6, Vec::new())));
        assert_eq!((mailbox.order_version(), ids(&seen)), (6, Some(vec![1, 2])));
        assert_eq!(mailbox.take(orders(1, changes(None, 9, Vec::new()), changes(None, 9, Vec::new()))), None, "older orders");
        assert_eq!((mailbox.order_version(), ids(&seen)), (6, Some(vec![1, 2])));
    }

    #[test]
    fn an_empty_first_list_is_handed_on_and_an_unchanged_one_is_not() {
        let (mut mailbox, mut seen) = mailbox();
        mailbox.take(orders(1, changes(None, 1, Vec::new()), changes(None, 1, Vec::new())));
        assert_eq!(ids(&seen), Some(vec![]));
        seen.mark_unchanged();
        mailbox.take(orders(2, changes(Some(1), 5, Vec::new()), changes(Some(1), 5, Vec::new())));
        assert_eq!((seen.has_changed().unwrap(), mailbox.order_version()), (false, 5));
    }

    #[test]
    fn a_changed_table_reaches_its_tablets() {
        let (mut mailbox, seen) = mailbox();
        mailbox.take(orders(1, changes(None, 1, vec![tablet(1), tablet(2)]), changes(None, 1, vec![table("a.b")])));
        mailbox.take(orders(2, changes(Some(1), 2, Vec::new()), changes(Some(1), 2, vec![table("a.c")])));
        assert!(seen.borrow().as_ref().unwrap().values().all(|wanted| wanted.table.name == "a.c"));
    }

    #[test]
    fn a_table_that_comes_again_is_the_same_one() {
        let (mut mailbox, seen) = mailbox();
        mailbox.take(orders(1, changes(None, 1, vec![tablet(1)]), changes(None, 1, vec![table("a.b")])));
        let first = seen.borrow().as_ref().unwrap()[&TabletId(1)].table.clone();
        mailbox.take(orders(2, changes(None, 2, vec![tablet(1)]), changes(None, 2, vec![table("a.b")])));
        assert!(Arc::ptr_eq(&first, &seen.borrow().as_ref().unwrap()[&TabletId(1)].table));
    }

    #[test]
    fn a_new_stream_reports_everything() {
        let (mut mailbox, _seen) = mailbox();
        mailbox.take(orders(1, changes(None, 1, Vec::new()), changes(None, 1, Vec::new())));
        assert_eq!(mailbox.heard(), Some(1));
        mailbox.begin_stream();
        assert_eq!(mailbox.heard(), None);
    }
}
