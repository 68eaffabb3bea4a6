use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const RAW: [&str; 2] = ["raw.a", "raw.b"];
const DERIVED: [&str; 3] = ["core.x", "core.y", "core.z"];

/// One step of a random history, in numbers that are taken modulo what exists.
#[derive(Clone, Debug)]
enum Step {
    Create(usize, bool),
    Drop(usize),
    Define { name: usize, input: usize, fingerprint: u8, append_only: bool },
    Undefine(usize),
    Pause(usize, bool),
    Claim { table: usize, from: i64, to: i64, whole: bool },
    Publish { claim: u64, from: i64, to: i64, changed: bool },
    Abandon(u64),
    Expire(u64),
    Server,
    Start(u64, u64, LogKind),
    Dead(u64, u64),
    Fenced(u64, u64, u64),
    Assign { tablet: u64, epoch: u64, server: u64, incarnation: u64 },
    Opened(u64, u64),
    Settled(usize, u64),
}

fn steps() -> impl Strategy<Value = Step> {
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
    match *step {
        Step::Create(n, split) => {
            let split_at = if split { vec![vec!["g".into()], vec!["q".into()]] } else { Vec::new() };
            command(Command::CreateTable { spec: TableSpec { split_at, ..spec(RAW[n]) } })
        }
        Step::Drop(n) => command(Command::DropTable { name: RAW[n].into() }),
        Step::Define { name, input, fingerprint, append_only } => {
            let input = RAW.iter().chain(&DERIVED).nth(input).unwrap();
            let one = put(DERIVED[name], &format!("f{fingerprint}"), &[input]);
            let spec = TableSpec { append_only, ..one.spec.clone() };
            command(Command::ApplyDefinitions { put: vec![PutDefinition { spec, ..one }], remove: Vec::new() })
        }
        Step::Undefine(n) => command(Command::ApplyDefinitions { put: Vec::new(), remove: vec![DERIVED[n].into()] }),
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

proptest! {
    #[test]
    fn random_histories_keep_the_invariants(history in proptest::collection::vec(steps(), 1..80)) {
        let mut c = Cluster::default();
        let mut given = Given::default();
        for step in &history {
            let before = c.state.clone();
            let _ = c.run(what(&before, step));
            given.step(&before, &c.state);
        }
        let text = serde_json::to_string(&c.state).unwrap();
        prop_assert_eq!(serde_json::from_str::<ClusterState>(&text).unwrap(), c.state);
    }
}
