use super::{Memory, Now, decide};
use crate::entry::{Change, Entry, What};
use crate::state::{ClusterState, apply};
use crate::timing::{KEEP_ABORTED, LEASE, MARGIN, RETRY_FAILED};
use common::config::{LogKind, MasterConfig};
use common::envelope::AsJson;
use common::ids::{Epoch, Incarnation, Seq, ServerId, TabletId};
use common::rpc::master::{CLAIM_TTL, Command, INGEST_TTL, PutDefinition, Reply, Report, TabletReport, TabletState};
use common::schema::TableSpec;
use common::time::Micros;
use common::version::RangeSet;
use std::time::Duration;

/// A leader with a clock of its own; the wall clock stands an hour after the monotonic one.
struct Leader {
    state: ClusterState,
    memory: Memory,
    at: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Leader {
    /// Leads since second 100; the system tables are there.
    fn new() -> Self {
        let mut leader = Self { state: ClusterState::default(), memory: Memory::default(), at: Duration::from_secs(100) };
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
        decide(&self.state, &self.memory, &MasterConfig::new("127.0.0.1:0".parse().unwrap(), "/".into(), String::new()), now)
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
            log: LogKind::Disk,
            sequence: self.at.as_millis() as u64,
            order_version: 0,
            tablets,
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
    TabletReport { tablet, epoch, state, visible_seq: Seq(visible), floor: Seq(0), bytes: 0, load: Default::default(), split: None }
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
    let put =
        PutDefinition { spec: TableSpec::named("core.b"), document: "{}".into(), fingerprint: "f".into(), inputs: vec!["raw.a".into()] };
    leader.command(Command::ApplyDefinitions { put: vec![put], remove: Vec::new() });
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
