use super::{Memory, Now, decide};
use crate::entry::{Change, Entry, What};
use crate::state::{ClusterState, apply};
use crate::timing::{KEEP_ABORTED, LEASE, MARGIN, RETRY_FAILED};
use common::changes::{Changes, Part};
use common::config::{LogKind, MasterConfig};
use common::envelope::AsJson;
use common::ids::{Epoch, Incarnation, Seq, ServerId, TabletId};
use common::rpc::master::{CLAIM_TTL, Command, INGEST_TTL, Procedure, PutDefinition, Reply, Report, TabletReport, TabletState};
use common::schema::TableSpec;
use common::time::Micros;
use common::version::RangeSet;
use std::time::Duration;

/// A leader with a clock of its own; the wall clock stands an hour after the monotonic one.
struct Leader {
    state: ClusterState,
    memory: Memory,
    at: Duration,
    /// Of servers that report.
    log: LogKind,
    policy: MasterConfig,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Leader {
    /// Leads since second 100; the system tables are there.
    fn new() -> Self {
        let mut leader = Self {
            state: ClusterState::default(),
            memory: Memory::default(),
            at: Duration::from_secs(100),
            log: LogKind::Disk,
            policy: MasterConfig::new("127.0.0.1:0".parse().unwrap(), "/".into(), String::new()),
        };
        leader.memory.lead(1, &leader.state, leader.now());
        leader.settle();
        leader
    }

    fn now(&self) -> Now {
        Now { monotonic: self.at, wall: Micros::default().after(self.at + HOUR) }
    }

    fn apply(&mut self, what: What) -> Reply {
        let entry = Entry { at: self.now().wall, what };
        apply(&mut self.state, &entry).unwrap()
    }

    fn command(&mut self, command: Command) -> Reply {
        self.apply(What::Command(AsJson(command)))
    }

    fn decide(&mut self) -> Vec<Change> {
        let now = self.now();
        self.memory.tick(&self.state, now);
        decide(&self.state, &self.memory, &self.policy, now)
    }

    /// Applies decisions until there are none.
    fn settle(&mut self) {
        for _ in 0..5 {
            let changes = self.decide();
            if changes.is_empty() {
                return;
            }
            changes.into_iter().for_each(|c| drop(self.apply(What::Change(c))));
        }
        panic!("decisions go on for ever");
    }

    /// Time passes in steps as small as a living leader's ticks.
    fn pass(&mut self, d: Duration) {
        let end = self.at + d;
        while self.at < end {
            self.at = (self.at + Duration::from_millis(250)).min(end);
            self.memory.tick(&self.state, self.now());
        }
    }

    fn server(&mut self) -> ServerId {
        match self.command(Command::RegisterServer) {
            Reply::Registered { server } => server,
            other => panic!("{other:?}"),
        }
    }

    fn report(&mut self, server: ServerId, incarnation: u64, tablets: Vec<TabletReport>) {
        let wall = self.now().wall;
        self.report_at(server, incarnation, tablets, wall);
    }

    fn report_at(&mut self, server: ServerId, incarnation: u64, tablets: Vec<TabletReport>, wall: Micros) {
        let report = Report {
            server,
            incarnation: Incarnation(incarnation),
            address: "host:1".into(),
            log: self.log,
            sequence: self.at.as_millis() as u64,
            order_version: 0,
            tablets: Changes::whole(self.at.as_millis() as u64, tablets),
            requests: 0,
            wall,
            leaving: false,
        };
        self.memory.heard(report, self.now());
    }

    fn owners(&self) -> Vec<Option<ServerId>> {
        self.state.tablets.values().map(|t| t.owner.map(|(s, _)| s)).collect()
    }

    /// Every tablet as its owner would report it.
    fn tablets(&self, state: &TabletState, visible: u64) -> Vec<TabletReport> {
        self.state.tablets.iter().map(|(id, t)| tablet(*id, t.epoch, state.clone(), visible)).collect()
    }
}

fn tablet(tablet: TabletId, epoch: Epoch, state: TabletState, visible: u64) -> TabletReport {
    TabletReport {
        tablet,
        epoch,
        state,
        visible_seq: Seq(visible),
        floor: Seq(0),
        bytes: 0,
        load: Default::default(),
        split: None,
        flushed: None,
    }
}

/// A leader with one server that holds all tablets open.
fn serving() -> (Leader, ServerId) {
    let mut leader = Leader::new();
    let server = leader.server();
    leader.report(server, 1, Vec::new());
    leader.settle();
    leader.report(server, 1, leader.tablets(&TabletState::Open, 0));
    leader.settle();
    (leader, server)
}

fn define(leader: &mut Leader) -> common::ids::TableId {
    leader.command(Command::CreateTable { spec: TableSpec::named("raw.a") });
    let put = PutDefinition {
        environment: String::new(),
        spec: TableSpec::named("core.b"),
        document: "{}".into(),
        fingerprint: "f".into(),
        inputs: vec!["raw.a".into()],
    };
    leader.command(Command::ApplyDefinitions { create: Vec::new(), put: vec![put], remove: Vec::new(), base: None });
    leader.state.table_named("core.b").unwrap().id
}

#[test]
fn a_new_life_is_started_then_given_its_tablets_then_seen_to_open_them() {
    let (leader, server) = serving();
    assert_eq!(leader.owners(), [Some(server)]);
    assert!(leader.state.tablets.values().all(|t| t.open && t.epoch == Epoch(1)));
}

#[test]
fn a_server_is_dead_after_lease_and_margin_and_its_tablets_wait_for_it() {
    let (mut leader, server) = serving();
    let other = leader.server();
    leader.pass(LEASE + MARGIN);
    leader.report(other, 1, Vec::new());
    leader.settle();
    assert!(leader.state.servers[&server].live);
    leader.pass(Duration::from_millis(250));
    leader.settle();
    assert!(!leader.state.servers[&server].live && leader.state.servers[&other].live);
    assert_eq!(leader.owners(), [None]);
    leader.report(server, 2, Vec::new());
    leader.settle();
    assert_eq!(leader.owners(), [Some(server)]);
    assert!(leader.state.tablets.values().all(|t| t.epoch == Epoch(2) && !t.open));
}

#[test]
fn a_new_leader_waits_before_it_declares_anyone_dead() {
    let (mut leader, server) = serving();
    leader.pass(LEASE);
    leader.memory.lead(2, &leader.state, leader.now());
    leader.pass(LEASE + MARGIN);
    assert_eq!(leader.decide(), []);
    leader.pass(Duration::from_millis(250));
    assert_eq!(leader.decide(), [Change::ServerDead { server, incarnation: Incarnation(1) }]);
}

#[test]
fn a_leader_that_was_stopped_itself_declares_nobody_dead_for_it() {
    let (mut leader, _) = serving();
    leader.at += Duration::from_secs(60);
    assert_eq!(leader.decide(), []);
}

#[test]
fn new_tablets_go_to_the_server_with_fewest_bytes_then_fewest_tablets() {
    let mut leader = Leader::new();
    let (full, empty) = (leader.server(), leader.server());
    leader.report(empty, 1, Vec::new());
    leader.settle();
    leader.report(full, 1, vec![TabletReport { bytes: 1 << 30, ..tablet(TabletId(99), Epoch(1), TabletState::Open, 0) }]);
    let spec = TableSpec { split_at: vec![vec!["g".into()], vec!["q".into()]], ..TableSpec::named("raw.a") };
    leader.command(Command::CreateTable { spec });
    leader.settle();
    assert_eq!(leader.owners(), vec![Some(empty); 4]);
    leader.report(full, 1, Vec::new());
    leader.command(Command::CreateTable { spec: TableSpec::named("raw.b") });
    leader.settle();
    assert_eq!(leader.owners()[4], Some(full));
}

#[test]
fn a_server_whose_clock_is_off_is_given_no_tablets() {
    let mut leader = Leader::new();
    let server = leader.server();
    let wrong = leader.now().wall.after(Duration::from_secs(11));
    leader.report_at(server, 1, Vec::new(), wrong);
    leader.settle();
    assert_eq!(leader.owners(), [None]);
    leader.report(server, 1, Vec::new());
    leader.settle();
    assert_eq!(leader.owners(), [Some(server)]);
}

#[test]
fn a_tablet_that_did_not_open_is_tried_again_with_a_higher_epoch() {
    let (mut leader, server) = serving();
    let failed = leader.tablets(&TabletState::Failed { reason: "store away".into() }, 0);
    leader.report(server, 1, failed.clone());
    assert_eq!(leader.decide(), []);
    leader.pass(RETRY_FAILED);
    leader.at += Duration::from_millis(1);
    leader.report(server, 1, failed);
    leader.settle();
    assert!(leader.state.tablets.values().all(|t| t.epoch == Epoch(2) && t.owner.is_some()));
}

#[test]
fn an_older_report_or_life_does_not_replace_a_newer() {
    let (mut leader, server) = serving();
    leader.report(server, 2, Vec::new());
    leader.report(server, 1, leader.tablets(&TabletState::Open, 0));
    leader.settle();
    assert_eq!(leader.state.servers[&server].incarnation, Incarnation(2));
    assert!(leader.state.tablets.values().all(|t| !t.open));
}

#[test]
fn a_claim_expires_when_nobody_keeps_it_and_a_new_leader_waits_anew() {
    let mut leader = Leader::new();
    let table = define(&mut leader);
    let claim = Command::Claim { table, fingerprint: "f".into(), windows: RangeSet::all(), whole: true, runner: "r".into() };
    let Reply::Claimed { claim, .. } = leader.command(claim) else { panic!() };
    leader.pass(CLAIM_TTL);
    leader.memory.keep_claim(claim, leader.now());
    leader.pass(CLAIM_TTL);
    assert_eq!(leader.decide(), []);
    leader.memory.lead(2, &leader.state, leader.now());
    leader.pass(CLAIM_TTL);
    assert_eq!(leader.decide(), []);
    leader.pass(Duration::from_secs(1));
    assert_eq!(leader.decide(), [Change::ExpireClaims(vec![claim])]);
    leader.settle();
    assert!(leader.state.claims.is_empty());
}

#[test]
fn runs_are_forgotten_once_all_tablets_have_applied_or_dropped_them() {
    let (mut leader, server) = serving();
    let table = define(&mut leader);
    let claim = || Command::Claim { table, fingerprint: "f".into(), windows: RangeSet::all(), whole: true, runner: "r".into() };
    let Reply::Claimed { claim: first, .. } = leader.command(claim()) else { panic!() };
    let publish = common::rpc::master::Publish {
        claim: first,
        fingerprint: "f".into(),
        changed: true,
        windows: RangeSet::all(),
        complete: RangeSet::empty(),
        inputs: Vec::new(),
        record: Box::default(),
    };
    leader.command(Command::Publish(Box::new(publish)));
    let Reply::Claimed { claim: second, run, .. } = leader.command(claim()) else { panic!() };
    leader.command(Command::Abandon { claim: second, record: None });
    leader.report(server, 1, Vec::new());
    leader.settle();
    leader.report(server, 1, leader.tablets(&TabletState::Open, 0));
    leader.settle();
    assert_eq!(leader.state.derived[&table].runs.len(), 1, "no tablet shows version 1 yet");
    leader.report(server, 1, leader.tablets(&TabletState::Open, 1));
    assert_eq!(leader.decide(), [Change::Settled { table, applied: Seq(1), dropped: Vec::new() }]);
    leader.at += KEEP_ABORTED + Duration::from_secs(1);
    leader.report(server, 1, leader.tablets(&TabletState::Open, 1));
    assert_eq!(leader.decide(), [Change::Settled { table, applied: Seq(1), dropped: vec![run] }]);
    leader.settle();
    assert!(leader.state.derived[&table].runs.is_empty() && leader.state.derived[&table].aborted.is_empty());
}

#[test]
fn an_ingest_that_is_not_kept_is_closed_and_a_new_leader_waits_anew() {
    let mut leader = Leader::new();
    leader.command(Command::CreateTable { spec: TableSpec::named("raw.a") });
    let table = leader.state.table_named("raw.a").unwrap().id;
    leader.memory.keep_ingest("load", table, leader.now());
    leader.settle();
    assert!(leader.state.ingesting.contains(&table));
    leader.memory.lead(2, &leader.state, leader.now());
    leader.pass(INGEST_TTL);
    leader.settle();
    assert!(leader.state.ingesting.contains(&table));
    leader.pass(Duration::from_millis(250));
    leader.settle();
    assert!(leader.state.ingesting.is_empty());
}

/// What is begun within some seconds, in which every server reports its tablets as `look` says.
fn begun(leader: &mut Leader, look: &impl Fn(&mut TabletReport)) -> Vec<(Procedure, String)> {
    let servers: Vec<_> = leader.state.servers.keys().copied().collect();
    for _ in 0..8 {
        leader.at += Duration::from_millis(250);
        for &server in &servers {
            let owned = leader.state.tablets.iter().filter(|(_, t)| t.owner.is_some_and(|(owner, _)| owner == server));
            let mut reports: Vec<_> = owned.map(|(id, t)| tablet(*id, t.epoch, TabletState::Open, 0)).collect();
            reports.iter_mut().for_each(look);
            leader.report(server, 1, reports);
        }
        let changes = leader.decide();
        let begun = changes.iter().filter_map(|c| match c {
            Change::Begin { procedure, why } => Some((procedure.0.clone(), why.clone())),
            _ => None,
        });
        let begun: Vec<_> = begun.collect();
        if !begun.is_empty() {
            return begun;
        }
        changes.into_iter().for_each(|c| drop(leader.apply(What::Change(c))));
    }
    Vec::new()
}

/// Time passes in which everybody reports and nothing has to be begun.
fn rest(leader: &mut Leader, how_long: Duration) {
    let end = leader.at + how_long;
    while leader.at < end {
        assert_eq!(begun(leader, &|_| {}), []);
    }
}

/// A leader with the tablets of `raw.a`, three if it is cut, and of the system table, all at the first of two servers that
/// log to the store.
fn two_servers(cut: bool) -> (Leader, [ServerId; 2]) {
    let mut leader = Leader { log: LogKind::Object, ..Leader::new() };
    let first = leader.server();
    leader.report(first, 1, Vec::new());
    let split_at = if cut { vec![vec!["g".into()], vec!["q".into()]] } else { Vec::new() };
    leader.command(Command::CreateTable { spec: TableSpec { split_at, ..TableSpec::named("raw.a") } });
    leader.settle();
    let second = leader.server();
    leader.report(second, 1, Vec::new());
    leader.settle();
    (leader, [first, second])
}

#[test]
fn a_drained_server_loses_all_its_tablets_at_once_and_a_leaving_one_too() {
    let (mut leader, [first, second]) = two_servers(true);
    leader.command(Command::Drain { server: first, drain: true });
    let moves = begun(&mut leader, &|_| {});
    let to_second = |(p, why): &(Procedure, String)| matches!(p, Procedure::Move { to: Some(to), .. } if *to == second) && why == "drain";
    assert!(moves.len() == 4 && moves.iter().all(to_second), "{moves:?}");
    leader.policy.procedures_at_once = 3;
    assert_eq!(begun(&mut leader, &|_| {}).len(), 3);
}

#[test]
fn servers_are_evened_out_by_tablets_that_have_rested_and_no_faster_than_allowed() {
    let (mut leader, [_, second]) = two_servers(true);
    rest(&mut leader, Duration::from_secs(40));
    leader.pass(Duration::from_millis(250));
    let end = leader.at + Duration::from_secs(40);
    let mut moves = Vec::new();
    while moves.is_empty() && leader.at < end {
        moves = begun(&mut leader, &|_| {});
    }
    assert!(matches!(moves.as_slice(), [(Procedure::Move { to: Some(to), .. }, why)] if *to == second && why == "balance"), "{moves:?}");
    leader.policy.moves_per_minute = 0;
    assert_eq!(begun(&mut leader, &|_| {}), []);
    leader.policy.moves_per_minute = 1;
    leader.policy.automatic = false;
    assert_eq!(begun(&mut leader, &|_| {}), []);
}

#[test]
fn tablets_are_split_by_bytes_and_by_load_and_not_again_soon_after_a_failure() {
    let (mut leader, _) = two_servers(false);
    rest(&mut leader, Duration::from_secs(35));
    let of_a = *leader.state.tablets.iter().find(|(_, t)| leader.state.tables[&t.table].name == "raw.a").unwrap().0;
    let split = Procedure::Split { tablet: of_a, at: None };
    let large = move |t: &mut TabletReport| t.bytes = if t.tablet == of_a { 300 << 20 } else { 0 };
    let hot = move |t: &mut TabletReport| t.load.writes = if t.tablet == of_a { 60_000 } else { 0 };
    assert!(begun(&mut leader, &large).contains(&(split.clone(), "size".into())));
    assert!(begun(&mut leader, &hot).contains(&(split.clone(), "load".into())));
    let Reply::Begun { procedure } = leader.command(Command::Begin { procedure: split.clone() }) else { panic!() };
    leader.command(Command::Cancel { procedure });
    assert!(!begun(&mut leader, &large).iter().any(|(p, _)| *p == split), "it has just failed");
}

#[test]
fn cold_neighbours_are_merged_down_to_what_the_table_was_created_with() {
    let (mut leader, _) = two_servers(true);
    leader.policy.moves_per_minute = 0;
    let merges = |leader: &mut Leader| begun(leader, &|_| {}).into_iter().filter(|(_, why)| why == "cold").count();
    rest(&mut leader, Duration::from_secs(620));
    assert_eq!(merges(&mut leader), 0, "whoever cut it knew why");
    let lower = leader.state.tablets.iter().find(|(_, t)| t.range.start.is_empty() && t.range.end.is_some()).map(|(id, _)| *id).unwrap();
    let Reply::Begun { procedure } = leader.command(Command::Begin { procedure: Procedure::Split { tablet: lower, at: Some("c".into()) } })
    else {
        panic!()
    };
    let epoch = leader.state.tablets[&lower].epoch;
    leader.apply(What::Change(Change::TabletsClosed(vec![(lower, epoch)])));
    leader.apply(What::Change(Change::Derived { procedure }));
    // The parts are young, their neighbours are not.
    let found = (0..10).map(|_| merges(&mut leader)).max().unwrap();
    assert_eq!(found, 1, "one pair, and no more than the split has made");
}

/// A report that says what changed since `base`.
fn changed(leader: &Leader, (server, incarnation): (ServerId, u64), sequence: u64, base: Option<u64>, put: Vec<TabletReport>) -> Report {
    Report {
        server,
        incarnation: Incarnation(incarnation),
        address: "host:1".into(),
        log: leader.log,
        sequence,
        order_version: sequence,
        tablets: Changes { base, version: sequence, part: Part { put, gone: Vec::new() } },
        requests: 0,
        wall: leader.now().wall,
        leaving: false,
    }
}

#[test]
fn reports_of_changes_are_followed_over_losses_streams_lives_and_leaders() {
    let mut leader = Leader::new();
    let server = leader.server();
    let open = |id: u64, bytes| TabletReport { bytes, ..tablet(TabletId(id), Epoch(1), TabletState::Open, 0) };
    let hear = |leader: &mut Leader, report: Report| leader.memory.heard(report, leader.now());
    let sum = |leader: &Leader, life| leader.memory.report_of(server, Incarnation(life)).map(|seen| seen.sums().bytes);
    let one = (server, 1);

    let first = changed(&leader, one, 1, None, vec![open(1, 10), open(2, 20)]);
    assert_eq!(hear(&mut leader, first), Some(1));
    let next = changed(&leader, one, 2, Some(1), vec![open(2, 25)]);
    assert_eq!((hear(&mut leader, next), sum(&leader, 1)), (Some(2), Some(35)));
    // Report 3 is lost, 4 begins after it: the server is alive, but what it says of tablets and orders is not known.
    let after_lost = changed(&leader, one, 4, Some(3), vec![open(1, 1000)]);
    assert_eq!((hear(&mut leader, after_lost), sum(&leader, 1)), (Some(2), Some(35)));
    assert_eq!(leader.memory.report_of(server, Incarnation(1)).unwrap().report.order_version, 2);
    let mended = changed(&leader, one, 5, Some(2), vec![open(1, 11)]);
    assert_eq!((hear(&mut leader, mended), sum(&leader, 1)), (Some(5), Some(36)));
    // An older one that was on its way for long.
    let late = changed(&leader, one, 3, Some(2), vec![open(1, 7)]);
    assert_eq!((hear(&mut leader, late), sum(&leader, 1)), (Some(5), Some(36)));
    // A new stream begins with everything.
    let again = changed(&leader, one, 6, None, vec![open(2, 5)]);
    assert_eq!((hear(&mut leader, again), sum(&leader, 1)), (Some(6), Some(5)));
    // A new life that begins in the middle, as if its first report was lost.
    let reborn = changed(&leader, (server, 2), 2, Some(1), vec![open(2, 5)]);
    assert_eq!((hear(&mut leader, reborn), sum(&leader, 1), sum(&leader, 2)), (None, None, Some(0)));
    let whole = changed(&leader, (server, 2), 3, None, vec![open(2, 8)]);
    assert_eq!((hear(&mut leader, whole), sum(&leader, 2)), (Some(3), Some(8)));
    // Another term: nothing was heard.
    let (state, now) = (leader.state.clone(), leader.now());
    leader.memory.lead(2, &state, now);
    let unknown = changed(&leader, (server, 2), 4, Some(3), vec![open(1, 1)]);
    assert_eq!((hear(&mut leader, unknown), sum(&leader, 2)), (None, Some(0)));
}

#[test]
fn small_tablets_of_a_dead_server_are_spread_by_number() {
    let mut leader = Leader::new();
    let servers = [leader.server(), leader.server(), leader.server()];
    leader.log = LogKind::Object;
    let splits = (0..30).map(|n| vec![format!("{n:02}").into()]).collect();
    leader.command(Command::CreateTable { spec: TableSpec { split_at: splits, ..TableSpec::named("raw.a") } });
    servers.iter().for_each(|s| leader.report(*s, 1, Vec::new()));
    leader.settle();
    // One server has a little more in bytes; that must not give all to the other.
    leader.report(servers[0], 1, vec![TabletReport { bytes: 4096, ..tablet(TabletId(99), Epoch(1), TabletState::Open, 0) }]);
    let (server, incarnation) = (servers[2], Incarnation(1));
    leader.apply(What::Change(Change::ServerDead { server, incarnation }));
    leader.apply(What::Change(Change::LogFenced { server, incarnation, position: 1 }));
    leader.settle();
    let count = |server| leader.owners().iter().filter(|o| **o == Some(server)).count();
    assert!(count(servers[0]).abs_diff(count(servers[1])) <= 1, "{:?}", leader.owners());
    assert_eq!(count(servers[0]) + count(servers[1]), leader.state.tablets.len());
}

#[test]
fn derived_tables_of_a_restored_state_are_computed_on_once_all_tablets_are_open_and_none_is_ahead() {
    for ahead in [false, true] {
        let (mut leader, server) = serving();
        let table = define(&mut leader);
        let at = leader.now().wall;
        crate::state::restore(&mut leader.state, &crate::state::Found::default(), at);
        leader.report(server, 2, Vec::new());
        leader.settle();
        assert!(leader.state.derived[&table].unverified && leader.owners().iter().all(|owner| *owner == Some(server)));
        leader.report(server, 2, leader.tablets(&TabletState::Open, u64::from(ahead)));
        leader.settle();
        let derived = &leader.state.derived[&table];
        assert_eq!((derived.unverified, leader.state.definitions["core.b"].paused), (ahead, ahead));
    }
}

#[test]
fn the_leader_takes_and_gives_up_the_snapshots_of_a_schedule() {
    let (mut leader, _) = serving();
    leader.command(Command::CreateTable { spec: TableSpec::named("raw.a") });
    let schedule = Some(common::rpc::master::Schedule { every: 600, keep: 1 });
    leader.command(Command::ScheduleSnapshots { table: "raw.a".into(), schedule });
    leader.settle();
    assert!(leader.state.snapshots.is_empty(), "a new leader first hears of everybody");
    rest(&mut leader, Duration::from_secs(5));
    let taking: Vec<_> = leader.state.snapshots_under_way().iter().map(|(id, s)| (*id, s.name.clone().unwrap())).collect();
    assert!(taking.len() == 1 && Micros::parse(&taking[0].1).is_ok(), "{taking:?}");
    // Nobody flushes its tablet.
    rest(&mut leader, crate::timing::SNAPSHOT_PATIENCE + Duration::from_secs(1));
    leader.settle();
    let error = leader.state.copies[&taking[0].0].error.clone();
    assert!(error.is_some_and(|e| e.contains("flushed within 300 s")) && leader.state.snapshots_under_way().is_empty());
}
