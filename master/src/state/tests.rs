//! The rules of the state machine, each test named after one.

mod copies;
mod definitions;
mod environments;
mod procedures;
mod properties;
mod publishing;
mod restored;
mod servers;
mod tables;

use super::{ClusterState, apply, invariants};
use crate::entry::{Assignment, Change, Entry, What};
use common::catalog::RunRecord;
use common::config::LogKind;
use common::envelope::{self, AsJson};
use common::ids::{ClaimId, Incarnation, RunId, Seq, ServerId, TableId, TabletId};
use common::rpc::master::{Command, Publish, PutDefinition, Reply};
use common::schema::TableSpec;
use common::time::Micros;
use common::version::RangeSet;
use common::{ErrorKind, Result};
use std::sync::Arc;

/// A state with a clock, whose invariants are checked after each step.
#[derive(Default)]
struct Cluster {
    state: ClusterState,
    at: i64,
    /// Of servers that start.
    log: LogKind,
}

impl Cluster {
    fn run(&mut self, what: What) -> Result<Reply> {
        self.at += 1;
        let before = self.state.clone();
        let entry = Entry { at: Micros(self.at), what };
        let encoded = envelope::encode(*b"TEST", 1, &entry).unwrap();
        assert_eq!(envelope::decode::<Entry>(*b"TEST", 1, &encoded).unwrap(), entry, "as it comes back from the Raft log");
        let outcome = apply(&mut self.state, &entry);
        invariants::check(&self.state).unwrap();
        if outcome.is_err() {
            assert_eq!(self.state, before, "a failing command changes nothing");
        }
        outcome
    }

    fn command(&mut self, command: Command) -> Result<Reply> {
        self.run(What::Command(AsJson(command)))
    }

    fn change(&mut self, change: Change) {
        self.run(What::Change(change)).unwrap();
    }

    fn raw(&mut self, name: &str) -> TableId {
        match self.command(Command::CreateTable { spec: spec(name) }).unwrap() {
            Reply::Table { table, .. } => table.id,
            other => panic!("{other:?}"),
        }
    }

    fn define(&mut self, put: Vec<PutDefinition>) -> Result<Reply> {
        self.command(Command::ApplyDefinitions { create: Vec::new(), put, remove: Vec::new(), base: None })
    }

    fn id(&self, name: &str) -> TableId {
        self.state.table_named(name).unwrap().id
    }

    fn claim(&mut self, table: TableId, windows: RangeSet) -> Result<(ClaimId, RunId, Seq)> {
        let fingerprint = self.state.definitions.values().find(|d| d.table == table).unwrap().fingerprint.clone();
        let claim = Command::Claim { table, fingerprint, windows, whole: false, runner: "r".into() };
        match self.command(claim)? {
            Reply::Claimed { claim, run, base } => Ok((claim, run, base)),
            other => panic!("{other:?}"),
        }
    }

    fn publish(&mut self, publish: Publish) -> Result<Seq> {
        match self.command(Command::Publish(Box::new(publish)))? {
            Reply::Published { version, .. } => Ok(version),
            other => panic!("{other:?}"),
        }
    }

    /// Registers a server and starts its first life.
    fn server(&mut self) -> ServerId {
        let Reply::Registered { server } = self.command(Command::RegisterServer).unwrap() else { panic!() };
        self.start(server, 1);
        server
    }

    fn start(&mut self, server: ServerId, incarnation: u64) {
        self.change(Change::ServerStarted { server, incarnation: Incarnation(incarnation), address: "host:1".into(), log: self.log });
    }

    fn assign(&mut self, tablet: TabletId, server: ServerId, incarnation: u64) {
        let epoch = self.state.tablets[&tablet].epoch.next();
        self.change(Change::Assign(vec![Assignment { tablet, epoch, server, incarnation: Incarnation(incarnation) }]));
    }
}

fn spec(name: &str) -> TableSpec {
    serde_json::from_value(serde_json::json!({"name": name, "key": [{"user": "string"}, {"at": "timestamp desc"}]})).unwrap()
}

fn put(name: &str, fingerprint: &str, inputs: &[&str]) -> PutDefinition {
    let inputs = inputs.iter().map(ToString::to_string).collect();
    PutDefinition { environment: String::new(), spec: spec(name), document: "{}".into(), fingerprint: fingerprint.into(), inputs }
}

fn windows(ranges: &[(i64, i64)]) -> RangeSet {
    ranges.iter().map(|&(s, e)| (Micros(s), Micros(e))).collect()
}

fn publish(claim: ClaimId, over: &[(i64, i64)]) -> Publish {
    Publish {
        claim,
        fingerprint: "f1".into(),
        changed: true,
        windows: windows(over),
        complete: windows(over),
        inputs: Vec::new(),
        record: Box::new(RunRecord::default()),
    }
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind
}

/// `raw.a` → `core.b` → `core.c`, the latter two published for 0..10.
fn chain() -> Cluster {
    let mut c = Cluster::default();
    c.raw("raw.a");
    c.define(vec![put("core.c", "f1", &["core.b"]), put("core.b", "f1", &["raw.a"])]).unwrap();
    for name in ["core.b", "core.c"] {
        let (claim, _, _) = c.claim(c.id(name), windows(&[(0, 10)])).unwrap();
        c.publish(publish(claim, &[(0, 10)])).unwrap();
    }
    c
}
