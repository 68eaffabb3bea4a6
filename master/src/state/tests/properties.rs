use super::*;
use crate::liveness::Index;
use crate::state::{catalog, catalog_changes, desired, desired_tablet, touched};
use common::catalog::Catalog;
use common::environment::split;
use common::ids::ProcedureId;
use common::objects::Referrer;
use common::rpc::master::{BackupContents, BackupPart, Desired, Procedure, Schedule, SnapshotPartView, TableSource};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const RAW: [&str; 2] = ["raw.a", "raw.b"];
const DERIVED: [&str; 3] = ["core.x", "core.y", "core.z"];
const ENVIRONMENTS: [&str; 2] = ["dev", "next"];

/// One step of a random history, in numbers that are taken modulo what exists.
#[derive(Clone, Debug)]
enum Step {
    Create(usize, bool),
    Drop(usize),
    Define {
        name: usize,
        input: usize,
        fingerprint: u8,
        append_only: bool,
    },
    Environment {
        name: usize,
        input: usize,
        environment: usize,
    },
    /// Of an environment, or of what the last change has retired.
    Promote(Option<usize>),
    DropEnvironment(usize),
    ForgetRetired,
    Undefine(usize),
    Pause(usize, bool),
    Claim {
        table: usize,
        from: i64,
        to: i64,
        whole: bool,
    },
    Publish {
        claim: u64,
        from: i64,
        to: i64,
        changed: bool,
    },
    Abandon(u64),
    Expire(u64),
    Server,
    Start(u64, u64, LogKind),
    Dead(u64, u64),
    Fenced(u64, u64, u64),
    Assign {
        tablet: u64,
        epoch: u64,
        server: u64,
        incarnation: u64,
    },
    Opened(u64, u64),
    OpenAll,
    Settled(usize, u64),
    Begin(Procedure),
    Chosen(u64, Option<u8>),
    Closed(u64, u64),
    CloseAll,
    Derived(u64),
    DeriveFailed(u64),
    Cancel(u64),
    Drain(u64, bool),
    Ended(u64),
    Pin(u64, u64),
    Take(usize, u8),
    /// All parts of all snapshots, or only of tablets with odd numbers.
    Parts(bool),
    DropSnapshot(usize, u8),
    Schedule(usize, bool),
    Outlived,
    Gone(u64),
    Clone(usize, u8, usize),
    Backup(usize, u8),
    Restore(usize),
    TableDone(u64),
    TableFailed(u64),
    Protect(usize, bool),
}

fn procedures() -> impl Strategy<Value = Procedure> {
    let tablet = || (1..12u64).prop_map(TabletId);
    let key = prop::option::of((b'a'..=b'z').prop_map(|b| bytes::Bytes::from(vec![b])));
    prop_oneof![
        (tablet(), prop::option::of((1..4u64).prop_map(ServerId))).prop_map(|(tablet, to)| Procedure::Move { tablet, to }),
        (tablet(), key).prop_map(|(tablet, at)| Procedure::Split { tablet, at }),
        (tablet(), 1..3u64).prop_map(|(tablet, on)| Procedure::Merge { tablets: [tablet, TabletId(tablet.0 + on)] }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![4 => usual_steps(), 3 => procedure_steps(), 3 => table_steps()]
}

/// A table with one of its snapshots; 0: as it is now.
fn source(table: usize, snapshot: u8) -> TableSource {
    let table = RAW[table].to_owned();
    if snapshot == 0 { TableSource::Table { table } } else { TableSource::Snapshot { table, snapshot: format!("s{snapshot}") } }
}

fn table_steps() -> impl Strategy<Value = Step> {
    let (table, snapshot) = (|| 0..2usize, || 0..3u8);
    prop_oneof![
        2 => (table(), 1..3u8).prop_map(|(t, s)| Step::Take(t, s)),
        4 => any::<bool>().prop_map(Step::Parts),
        1 => (table(), 1..3u8).prop_map(|(t, s)| Step::DropSnapshot(t, s)),
        1 => (table(), any::<bool>()).prop_map(|(t, on)| Step::Schedule(t, on)),
        1 => Just(Step::Outlived),
        1 => (1..12u64).prop_map(Step::Gone),
        3 => (table(), snapshot(), table()).prop_map(|(t, s, name)| Step::Clone(t, s, name)),
        1 => (table(), snapshot()).prop_map(|(t, s)| Step::Backup(t, s)),
        1 => table().prop_map(Step::Restore),
        4 => (1..12u64).prop_map(Step::TableDone),
        1 => (1..12u64).prop_map(Step::TableFailed),
        1 => (table(), any::<bool>()).prop_map(|(t, on)| Step::Protect(t, on)),
    ]
}

/// One part that is missing somewhere, if there is one.
fn missing_part(state: &ClusterState, odd: bool) -> Option<Change> {
    state.snapshots_under_way().into_iter().find_map(|(procedure, snapshot)| {
        let mut wanted = state.tablets.iter().filter(|(id, t)| snapshot.wants(t.table, &t.range) && (!odd || id.0 % 2 == 1));
        let (tablet, t) = wanted.next()?;
        let part = SnapshotPartView { tablet: *tablet, range: t.range.clone(), seq: Seq(1), bytes: 1 };
        Some(Change::SnapshotPart { procedure, part })
    })
}

fn procedure_steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => procedures().prop_map(Step::Begin),
        2 => Just(Step::OpenAll),
        2 => Just(Step::CloseAll),
        1 => (1..6u64, prop::option::of(b'a'..=b'z')).prop_map(|(p, key)| Step::Chosen(p, key)),
        1 => (1..12u64, 0..4u64).prop_map(|(t, e)| Step::Closed(t, e)),
        2 => (1..6u64).prop_map(Step::Derived),
        1 => (1..6u64).prop_map(Step::DeriveFailed),
        1 => (1..6u64).prop_map(Step::Cancel),
        1 => (1..4u64, any::<bool>()).prop_map(|(s, d)| Step::Drain(s, d)),
        1 => (1..12u64).prop_map(Step::Ended),
        1 => (1..12u64, 1..12u64).prop_map(|(home, by)| Step::Pin(home, by)),
    ]
}

fn usual_steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2usize, any::<bool>()).prop_map(|(n, s)| Step::Create(n, s)),
        (0..2usize).prop_map(Step::Drop),
        (0..3usize, 0..5usize, 0..2u8, any::<bool>()).prop_map(|(name, input, fingerprint, append_only)| Step::Define {
            name,
            input,
            fingerprint,
            append_only
        }),
        (0..3usize).prop_map(Step::Undefine),
        (0..3usize, 0..5usize, 0..2usize).prop_map(|(name, input, environment)| Step::Environment { name, input, environment }),
        prop::option::of(0..2usize).prop_map(Step::Promote),
        (0..2usize).prop_map(Step::DropEnvironment),
        Just(Step::ForgetRetired),
        (0..3usize, any::<bool>()).prop_map(|(n, p)| Step::Pause(n, p)),
        (0..3usize, 0..6i64, 1..4i64, any::<bool>()).prop_map(|(table, from, n, whole)| Step::Claim { table, from, to: from + n, whole }),
        (1..9u64, 0..6i64, 1..4i64, any::<bool>()).prop_map(|(claim, from, n, changed)| Step::Publish {
            claim,
            from,
            to: from + n,
            changed
        }),
        (1..9u64).prop_map(Step::Abandon),
        (1..9u64).prop_map(Step::Expire),
        Just(Step::Server),
        (1..4u64, 1..4u64, prop::sample::select(vec![LogKind::Object, LogKind::Disk])).prop_map(|(s, i, log)| Step::Start(s, i, log)),
        (1..4u64, 1..4u64).prop_map(|(s, i)| Step::Dead(s, i)),
        (1..4u64, 1..4u64, 1..9u64).prop_map(|(s, i, at)| Step::Fenced(s, i, at)),
        (1..9u64, 1..4u64, 1..4u64, 1..4u64).prop_map(|(tablet, epoch, server, incarnation)| Step::Assign {
            tablet,
            epoch,
            server,
            incarnation
        }),
        (1..9u64, 1..4u64).prop_map(|(t, e)| Step::Opened(t, e)),
        (0..3usize, 0..4u64).prop_map(|(t, v)| Step::Settled(t, v)),
    ]
}

fn what(state: &ClusterState, step: &Step) -> What {
    let command = |c: Command| What::Command(AsJson(c));
    let id = |n: usize| state.table_named(DERIVED[n]).map_or(TableId(999), |t| t.id);
    match step.clone() {
        Step::Create(n, split) => {
            let split_at = if split { vec![vec!["g".into()], vec!["q".into()]] } else { Vec::new() };
            command(Command::CreateTable { spec: TableSpec { split_at, ..spec(RAW[n]) } })
        }
        Step::Drop(n) => command(Command::DropTable { name: RAW[n].into() }),
        Step::Define { name, input, fingerprint, append_only } => {
            let input = RAW.iter().chain(&DERIVED).nth(input).unwrap();
            let one = put(DERIVED[name], &format!("f{fingerprint}"), &[input]);
            let spec = TableSpec { append_only, ..one.spec.clone() };
            command(Command::ApplyDefinitions {
                create: Vec::new(),
                put: vec![PutDefinition { spec, ..one }],
                remove: Vec::new(),
                base: None,
            })
        }
        Step::Environment { name, input, environment } => {
            let input = RAW.iter().chain(&DERIVED).nth(input).unwrap();
            let one = PutDefinition { environment: ENVIRONMENTS[environment].into(), ..put(DERIVED[name], "f1", &[input]) };
            command(Command::ApplyDefinitions { create: Vec::new(), put: vec![one], remove: Vec::new(), base: None })
        }
        Step::Promote(environment) => {
            let environment = environment.map_or_else(|| format!("undo{}", state.definitions_version), |n| ENVIRONMENTS[n].to_owned());
            let all = state.definitions.iter().chain(&state.retired).filter(|(name, _)| split(name).0 == environment);
            let expected = all.map(|(name, d)| (name.clone(), d.fingerprint.clone())).collect();
            command(Command::Promote { environment, expected })
        }
        Step::DropEnvironment(n) => command(Command::DropEnvironment { environment: ENVIRONMENTS[n].into() }),
        Step::ForgetRetired => What::Change(Change::ForgetRetired),
        Step::Undefine(n) => {
            command(Command::ApplyDefinitions { create: Vec::new(), put: Vec::new(), remove: vec![DERIVED[n].into()], base: None })
        }
        Step::Pause(n, paused) => command(Command::PauseDerived { name: DERIVED[n].into(), paused }),
        Step::Claim { table, from, to, whole } => {
            let fingerprint = state.definitions.get(DERIVED[table]).map_or("f1".into(), |d| d.fingerprint.clone());
            command(Command::Claim { table: id(table), fingerprint, windows: windows(&[(from, to)]), whole, runner: "r".into() })
        }
        Step::Publish { claim, from, to, changed } => {
            let fingerprint = state.claims.get(&ClaimId(claim)).map_or("f1".into(), |c| c.fingerprint.clone());
            command(Command::Publish(Box::new(Publish { changed, fingerprint, ..publish(ClaimId(claim), &[(from, to)]) })))
        }
        Step::Abandon(claim) => command(Command::Abandon { claim: ClaimId(claim), record: None }),
        Step::Expire(claim) => What::Change(Change::ExpireClaims(vec![ClaimId(claim)])),
        Step::Server => command(Command::RegisterServer),
        Step::Start(s, i, log) => {
            What::Change(Change::ServerStarted { server: ServerId(s), incarnation: Incarnation(i), address: "h:1".into(), log })
        }
        Step::Fenced(s, i, position) => What::Change(Change::LogFenced { server: ServerId(s), incarnation: Incarnation(i), position }),
        Step::Dead(s, i) => What::Change(Change::ServerDead { server: ServerId(s), incarnation: Incarnation(i) }),
        Step::Assign { tablet, epoch, server, incarnation } => What::Change(Change::Assign(vec![Assignment {
            tablet: TabletId(tablet),
            epoch: epoch.into(),
            server: ServerId(server),
            incarnation: Incarnation(incarnation),
        }])),
        Step::Opened(t, e) => What::Change(Change::TabletsOpened(vec![(TabletId(t), e.into())])),
        Step::OpenAll => {
            let closed = state.tablets.iter().filter(|(_, t)| t.owner.is_some());
            What::Change(Change::TabletsOpened(closed.map(|(id, t)| (*id, t.epoch)).collect()))
        }
        Step::Begin(procedure) => command(Command::Begin { procedure }),
        Step::Chosen(p, key) => {
            What::Change(Change::SplitChosen { procedure: ProcedureId(p), at: key.map(|k| bytes::Bytes::from(vec![k])) })
        }
        Step::Closed(t, e) => What::Change(Change::TabletsClosed(vec![(TabletId(t), e.into())])),
        Step::CloseAll => {
            let wanted = state.procedures.values().flat_map(|p| p.tablets());
            What::Change(Change::TabletsClosed(wanted.map(|t| (t, state.tablets[&t].epoch)).collect()))
        }
        Step::Derived(p) => What::Change(Change::Derived { procedure: ProcedureId(p) }),
        Step::DeriveFailed(p) => What::Change(Change::DeriveFailed { procedure: ProcedureId(p), error: "e".into() }),
        Step::Cancel(p) => command(Command::Cancel { procedure: ProcedureId(p) }),
        Step::Drain(s, drain) => command(Command::Drain { server: ServerId(s), drain }),
        Step::Ended(t) => What::Change(Change::TabletEnded(TabletId(t))),
        Step::Pin(home, by) => command(Command::PinHome { home: TabletId(home), referrer: Referrer::Tablet(TabletId(by)) }),
        Step::Take(t, s) => command(Command::TakeSnapshot { table: RAW[t].into(), name: format!("s{s}"), expires_after: Some(1) }),
        Step::Parts(odd) => What::Change(missing_part(state, odd).unwrap_or(Change::OutlivedSnapshots(Vec::new()))),
        Step::DropSnapshot(t, s) => command(Command::DropSnapshot { table: RAW[t].into(), name: format!("s{s}") }),
        Step::Schedule(t, on) => {
            let schedule = on.then_some(Schedule { every: 1, keep: 1 });
            command(Command::ScheduleSnapshots { table: RAW[t].into(), schedule })
        }
        Step::Outlived => What::Change(Change::OutlivedSnapshots(state.outlived_snapshots(Micros::MAX))),
        Step::Gone(id) => What::Change(Change::SnapshotGone(ProcedureId(id))),
        Step::Clone(t, s, name) => command(Command::CloneTable { source: source(t, s), name: RAW[name].into() }),
        Step::Backup(t, s) => command(Command::BackupTable { source: source(t, s), location: format!("file:///{t}") }),
        Step::Restore(name) => {
            let table = common::schema::Table::create(TableId(77), common::schema::TableKind::Raw, spec("raw.old")).unwrap();
            let parts = vec![BackupPart { tablet: TabletId(1), range: common::key::KeyRange::ALL, seq: Seq(3) }];
            let contents = Some(Box::new(BackupContents { backup: "c-1".into(), table, watermark: Some(Micros(3)), parts }));
            command(Command::RestoreTable { location: "file:///r".into(), name: RAW[name].into(), contents })
        }
        Step::TableDone(p) => What::Change(Change::TableDone { procedure: ProcedureId(p) }),
        Step::TableFailed(p) => What::Change(Change::TableFailed { procedure: ProcedureId(p), error: "e".into() }),
        Step::Protect(t, protected) => command(Command::ProtectTable { name: RAW[t].into(), protected }),
        Step::Settled(t, v) => What::Change(Change::Settled { table: id(t), applied: Seq(v), dropped: Vec::new() }),
    }
}

/// Numbers given in this history, to see that none comes twice.
#[derive(Default)]
struct Given {
    tables: BTreeSet<TableId>,
    tablets: BTreeSet<TabletId>,
    claims: BTreeSet<ClaimId>,
}

impl Given {
    fn note<T: Ord + Copy + std::fmt::Debug>(all: &mut BTreeSet<T>, before: &BTreeSet<T>, after: BTreeSet<T>) {
        for new in after.difference(before) {
            assert!(all.insert(*new), "{new:?} was given before");
        }
    }

    fn step(&mut self, before: &ClusterState, after: &ClusterState) {
        Self::note(&mut self.tables, &before.tables.keys().copied().collect(), after.tables.keys().copied().collect());
        Self::note(&mut self.tablets, &before.tablets.keys().copied().collect(), after.tablets.keys().copied().collect());
        Self::note(&mut self.claims, &before.claims.keys().copied().collect(), after.claims.keys().copied().collect());
        assert!(after.version >= before.version);
        assert!((after.version == before.version) == (after == before), "every change has a version of its own");
        for (id, d) in &before.derived {
            assert!(after.derived.get(id).is_none_or(|new| new.version >= d.version), "a table's version only grows");
        }
        for (id, t) in &before.tablets {
            assert!(after.tablets.get(id).is_none_or(|new| new.epoch >= t.epoch), "an epoch only grows");
        }
    }
}

/// Whoever follows the state by what changes.
#[derive(Default)]
struct Following {
    catalog: Catalog,
    lists: BTreeMap<(ServerId, Incarnation), BTreeMap<TabletId, Desired>>,
    index: Index,
}

impl Following {
    /// Sees what whoever looks at all of it sees.
    fn step(&mut self, before: &ClusterState, after: &ClusterState) {
        let from = (self.catalog.version == before.version && before.version > 0).then_some(before);
        self.catalog = self.catalog.after(catalog_changes(from, after)).unwrap();
        assert_eq!(self.catalog, catalog(after));
        for (id, server) in &after.servers {
            for life in 1..=server.incarnation.0 {
                let life = (*id, Incarnation(life));
                let list = self.lists.entry(life).or_default();
                for tablet in touched(before, after) {
                    match desired_tablet(after, tablet, life) {
                        Some(desired) => drop(list.insert(tablet, desired)),
                        None => drop(list.remove(&tablet)),
                    }
                }
                assert_eq!(list.values().cloned().collect::<Vec<_>>(), desired(after, life.0, life.1));
            }
        }
        self.index.follow(after);
        let ids = |waiting: bool| after.tablets.iter().filter(move |(_, t)| t.owner.is_none() == waiting).map(|(id, _)| *id);
        assert!(self.index.waiting().map(|(id, _)| id).eq(ids(true)));
        let opening = after.tablets.iter().filter(|(_, t)| t.owner.is_some() && !t.open);
        assert!(self.index.opening().eq(opening.map(|(id, t)| (*id, t))));
        for (id, server) in &after.servers {
            let life = (*id, server.incarnation);
            let owned = after.tablets.values().filter(|t| t.owner == Some(life)).count();
            assert_eq!(self.index.owned(life.0, life.1), owned);
        }
        for table in after.tables.keys() {
            assert!(self.index.of_table(*table).eq(after.tablets_of(*table)));
        }
    }
}

proptest! {
    #[test]
    fn random_histories_keep_the_invariants(history in proptest::collection::vec(steps(), 1..120)) {
        let mut c = Cluster::default();
        let mut given = Given::default();
        let mut following = Following::default();
        for step in &history {
            let before = c.state.clone();
            let _ = c.run(what(&before, step));
            given.step(&before, &c.state);
            following.step(&before, &c.state);
        }
        let text = serde_json::to_string(&c.state).unwrap();
        prop_assert_eq!(serde_json::from_str::<ClusterState>(&text).unwrap(), c.state);
    }
}
