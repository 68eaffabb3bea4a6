use crate::raft::Applied;
use crate::state::{self, ClusterState};
use crate::timing::LEASE;
use common::changes::{Changes, Ledger};
use common::config::LogKind;
use common::ids::{Incarnation, ServerId, TableId, TabletId};
use common::rpc::master::{Desired, Orders};
use common::schema::Table;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What one heartbeat stream has been told.
///
/// The list follows the states in the time of what differs between them; its versions are theirs, so that they grow over
/// leaders. A stream begins with all of it; then goes what changed since the version that the server last said it had.
#[derive(Debug)]
pub(super) struct Told {
    server: ServerId,
    incarnation: Incarnation,
    /// The newest report answered after leadership was confirmed.
    pub(super) answers: u64,
    /// The newest report whose tablets the leader has.
    pub(super) heard: Option<u64>,
    /// The state that the list follows.
    at: ClusterState,
    list: Ledger<Desired>,
    tables: Ledger<Arc<Table>>,
    /// Tablets of the list by table.
    counts: BTreeMap<TableId, usize>,
    /// The version sent last, and the one the server has of this stream.
    sent: Option<u64>,
    has: Option<u64>,
}

impl Told {
    /// Nothing yet, to a life of a server.
    pub(super) fn new(server: ServerId, incarnation: Incarnation, state: &ClusterState) -> Self {
        let mut told = Self {
            server,
            incarnation,
            answers: 0,
            heard: None,
            at: state.clone(),
            list: Ledger::new(state.version),
            tables: Ledger::new(state.version),
            counts: BTreeMap::new(),
            sent: None,
            has: None,
        };
        for desired in state::desired(state, server, incarnation) {
            *told.counts.entry(desired.table).or_default() += 1;
            told.list.set(desired);
        }
        let tables: Vec<_> = told.counts.keys().filter_map(|id| state.tables.get(id)).cloned().collect();
        tables.into_iter().for_each(|table| _ = told.tables.set(table));
        told
    }

    pub(super) fn is(&self, server: ServerId, incarnation: Incarnation) -> bool {
        (self.server, self.incarnation) == (server, incarnation)
    }

    /// The server says which version it has. What it had before this stream began is not counted on.
    pub(super) fn has(&mut self, version: u64) {
        if self.sent.is_some_and(|sent| version <= sent) && version >= self.list_began() {
            self.has = Some(version);
            self.list.told(version);
            self.tables.told(version);
        } else {
            self.has = None;
        }
    }

    fn list_began(&self) -> u64 {
        self.has.unwrap_or(0)
    }

    /// Orders after `applied`.
    pub(super) fn orders(&mut self, applied: &Applied, term: u64) -> Orders {
        self.follow(&applied.state);
        let fenced = self.is_over(applied);
        let version = self.list.version();
        self.sent = Some(version);
        let (desired, tables) =
            if fenced { (Changes::whole(version, Vec::new()), Changes::whole(version, Vec::new())) } else { self.changes() };
        Orders {
            answers: self.answers,
            lease_ms: if fenced { 0 } else { LEASE.as_millis() as u64 },
            term,
            applied: applied.index(),
            heard: self.heard,
            desired,
            tables,
            fenced,
            others: self.others(applied),
        }
    }

    fn changes(&self) -> (Changes<Desired>, Changes<Arc<Table>>) {
        (self.list.since(self.has), self.tables.since(self.has))
    }

    /// Whether a change of state gives the server anything new.
    pub(super) fn is_news(&mut self, applied: &Applied) -> bool {
        self.follow(&applied.state);
        let sent = self.sent.unwrap_or(0);
        self.is_over(applied) || self.list.has_changed_since(sent) || self.tables.has_changed_since(sent)
    }

    /// Brings the list to a state; one that is older than what it follows is passed over.
    fn follow(&mut self, state: &ClusterState) {
        if state.version <= self.at.version {
            return;
        }
        self.list.begin(state.version);
        self.tables.begin(state.version);
        let mut tables: BTreeSet<TableId> = BTreeSet::new();
        for id in state::touched(&self.at, state) {
            tables.extend(self.follow_tablet(state, id).into_iter().flatten());
        }
        if !self.at.tables.ptr_eq(&state.tables) {
            tables.extend(self.counts.keys());
        }
        for id in tables {
            self.follow_table(state, id);
        }
        self.at = state.clone();
    }

    /// The tables whose tablets in the list may be others than before.
    fn follow_tablet(&mut self, state: &ClusterState, id: TabletId) -> [Option<TableId>; 2] {
        let was = self.list.get(&id).map(|d| d.table);
        let is = state::desired_tablet(state, id, (self.server, self.incarnation));
        let now = is.as_ref().map(|d| d.table);
        match is {
            Some(desired) => self.list.set(desired),
            None => self.list.remove(&id),
        };
        if was == now {
            return [None, None];
        }
        if let Some(count) = was.and_then(|table| self.counts.get_mut(&table)) {
            *count = count.saturating_sub(1);
        }
        now.into_iter().for_each(|table| *self.counts.entry(table).or_default() += 1);
        [was, now]
    }

    fn follow_table(&mut self, state: &ClusterState, id: TableId) {
        let needed = self.counts.get(&id).is_some_and(|count| *count > 0);
        match state.tables.get(&id).filter(|_| needed) {
            Some(table) => _ = self.tables.set(table.clone()),
            None => {
                self.counts.remove(&id);
                self.tables.remove(&id);
            }
        }
    }

    /// Whether its tablets could go on elsewhere.
    fn others(&self, applied: &Applied) -> bool {
        let servers = &applied.state.servers;
        let leaves_no_log = servers.get(&self.server).is_some_and(|s| s.log == LogKind::Object);
        leaves_no_log && servers.iter().any(|(id, s)| *id != self.server && s.live && !s.draining)
    }

    /// Whether this life was replaced or declared dead.
    fn is_over(&self, applied: &Applied) -> bool {
        let server = applied.state.servers.get(&self.server);
        server.is_some_and(|s| s.incarnation > self.incarnation || s.incarnation == self.incarnation && !s.live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Assignment, Change, Entry, What};
    use common::changes::Replica;
    use common::envelope::AsJson;
    use common::rpc::master::Command;
    use common::schema::TableSpec;
    use common::time::Micros;
    use proptest::prelude::*;

    const SERVER: ServerId = ServerId(1);
    const LIFE: Incarnation = Incarnation(1);

    /// What happens to the cluster, to messages, or to the two ends of a stream.
    #[derive(Clone, Debug)]
    enum Event {
        Create(u8),
        Drop(u8),
        /// The tablet goes to server 1 or 2.
        Assign(u64, u64),
        Open(u64),
        /// Orders are sent and lost, or come.
        Send(bool),
        /// A report is sent and lost, or comes.
        Report(bool),
        /// Also what a new leader does: it knows the state, and nothing of what the server has.
        NewStream,
        /// The server's process begins anew, with another leader.
        Restart,
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            2 => (0..3u8).prop_map(Event::Create),
            1 => (0..3u8).prop_map(Event::Drop),
            5 => (1..10u64, 1..3u64).prop_map(|(tablet, server)| Event::Assign(tablet, server)),
            2 => (1..10u64).prop_map(Event::Open),
            4 => any::<bool>().prop_map(Event::Send),
            4 => any::<bool>().prop_map(Event::Report),
            1 => Just(Event::NewStream),
            1 => Just(Event::Restart),
        ]
    }

    fn change(state: &mut ClusterState, what: What) {
        // A command that is refused changes nothing, which is as good a history.
        let _ = state::apply(state, &Entry { at: Micros(1), what });
    }

    fn command(state: &mut ClusterState, command: Command) {
        change(state, What::Command(AsJson(command)));
    }

    /// Two servers that live.
    fn cluster() -> Applied {
        let mut applied = Applied::default();
        for server in [SERVER, ServerId(2)] {
            command(&mut applied.state, Command::RegisterServer);
            let address = "host:1".into();
            let started = Change::ServerStarted { server, incarnation: LIFE, address, log: LogKind::Object };
            change(&mut applied.state, What::Change(started));
        }
        applied
    }

    fn assign(state: &mut ClusterState, tablet: TabletId, server: ServerId) {
        let Some(epoch) = state.tablets.get(&tablet).map(|t| t.epoch) else { return };
        // As if its log was ended: it is handed to and fro freely.
        if let Some(t) = state.tablets.get_mut(&tablet) {
            (t.logs, t.owner, t.open) = (Vec::new(), None, false);
        }
        let assignment = Assignment { tablet, epoch: epoch.next(), server, incarnation: LIFE };
        change(state, What::Change(Change::Assign(vec![assignment])));
    }

    fn happen(state: &mut ClusterState, event: &Event) {
        let name = |n: u8| format!("raw.t{n}");
        match *event {
            Event::Create(n) => {
                let split_at = vec![vec!["g".into()], vec!["q".into()]];
                command(state, Command::CreateTable { spec: TableSpec { split_at, ..TableSpec::named(name(n)) } });
            }
            Event::Drop(n) => command(state, Command::DropTable { name: name(n) }),
            Event::Assign(tablet, server) => assign(state, TabletId(tablet), ServerId(server)),
            Event::Open(tablet) => {
                let tablet = TabletId(tablet);
                let Some(epoch) = state.tablets.get(&tablet).map(|t| t.epoch) else { return };
                change(state, What::Change(Change::TabletsOpened(vec![(tablet, epoch)])));
            }
            Event::Send(_) | Event::Report(_) | Event::NewStream | Event::Restart => {}
        }
    }

    /// The server's side.
    #[derive(Default)]
    struct Follower {
        list: Replica<Desired>,
        tables: Replica<Arc<Table>>,
    }

    impl Follower {
        fn take(&mut self, orders: Orders) {
            if self.list.fits(&orders.desired) && self.tables.fits(&orders.tables) {
                self.list.take(orders.desired).unwrap();
                self.tables.take(orders.tables).unwrap();
            }
        }

        fn version(&self) -> u64 {
            self.list.version().unwrap_or(0)
        }
    }

    proptest! {
        /// Whatever is lost and whoever begins anew: a list of a version is what the state of that version wants, with all its
        /// tables, and one report and its answer bring the newest.
        #[test]
        fn a_server_has_its_version_of_the_list_and_catches_up(events in proptest::collection::vec(events(), 1..100)) {
            let mut applied = cluster();
            let mut told = Told::new(SERVER, LIFE, &applied.state);
            let mut follower = Follower::default();
            let mut history = BTreeMap::new();
            for event in events {
                happen(&mut applied.state, &event);
                history.insert(applied.state.version, state::desired(&applied.state, SERVER, LIFE));
                match event {
                    Event::Send(comes) => {
                        let orders = told.orders(&applied, 1);
                        prop_assert!(!told.is_news(&applied));
                        if comes {
                            follower.take(orders);
                        }
                    }
                    Event::Report(true) => told.has(follower.version()),
                    Event::NewStream => told = Told::new(SERVER, LIFE, &applied.state),
                    Event::Restart => {
                        (told, follower) = (Told::new(SERVER, LIFE, &applied.state), Follower::default());
                    }
                    _ => {}
                }
                if let Some(version) = follower.list.version() {
                    prop_assert_eq!(&follower.list.iter().cloned().collect::<Vec<_>>(), &history[&version]);
                    prop_assert!(follower.list.iter().all(|d| follower.tables.get(&d.table).is_some()));
                }
            }
            told.has(follower.version());
            follower.take(told.orders(&applied, 1));
            let wanted = state::desired(&applied.state, SERVER, LIFE);
            prop_assert_eq!(follower.list.iter().cloned().collect::<Vec<_>>(), wanted);
            let tables: Vec<_> = follower.tables.iter().map(|t| t.id).collect();
            let needed: BTreeSet<_> = follower.list.iter().map(|d| d.table).collect();
            prop_assert_eq!(tables, needed.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_a_server_has_is_not_sent_again() {
        let mut applied = cluster();
        happen(&mut applied.state, &Event::Create(1));
        (1..=3).for_each(|id| happen(&mut applied.state, &Event::Assign(id, 1)));
        let mut told = Told::new(SERVER, LIFE, &applied.state);
        let mut follower = Follower::default();
        let first = told.orders(&applied, 1);
        assert_eq!((first.desired.base, first.desired.part.put.len(), first.tables.part.put.len()), (None, 3, 1));
        follower.take(first);
        told.has(follower.version());
        happen(&mut applied.state, &Event::Open(1));
        assert!(!told.is_news(&applied), "that it is open means nothing to its server");
        happen(&mut applied.state, &Event::Assign(2, 2));
        assert!(told.is_news(&applied));
        let orders = told.orders(&applied, 1);
        assert_eq!((orders.desired.part.put.len(), &orders.desired.part.gone), (0, &vec![TabletId(2)]));
        assert!(orders.tables.part.is_empty());
        // It is lost; the next orders name it again, and nothing else.
        assert_eq!(told.orders(&applied, 1).desired.part.gone, [TabletId(2)]);
        follower.take(told.orders(&applied, 1));
        told.has(follower.version());
        assert!(told.orders(&applied, 1).desired.part.is_empty());
    }
}
