//! What was seen from outside: clients' calls and answers, and who put what into the store. Nothing of it is the cluster's own.

use crate::linear::{Answer, Event, Op};
use bytes::Bytes;
use common::catalog::Catalog;
use common::ids::{Epoch, Incarnation, ServerId, TabletId};
use common::register::Register;
use object_store::PutPayload;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A role's process: host and life.
pub type Process = (String, u64);

/// A write that was acknowledged.
#[derive(Clone, Debug)]
pub struct Ack {
    /// The row.
    pub key: Bytes,
    /// Its number.
    pub seq: u64,
    /// When it was sent.
    pub sent: Duration,
    /// When it was acknowledged.
    pub answered: Duration,
    /// Of an append: how long the list was with it.
    pub length: Option<usize>,
}

/// A row that is written once.
#[derive(Clone, Debug)]
pub struct Put {
    /// Its only value.
    pub value: Bytes,
    /// When it was acknowledged, if it was.
    pub acked: Option<Duration>,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The newest life of each host.
    pub lives: BTreeMap<String, u64>,
    /// Who put each manifest, and under which epoch.
    pub manifests: BTreeMap<(TabletId, u64), (Epoch, Process)>,
    /// Who put each object of each log.
    pub logs: BTreeMap<(ServerId, Incarnation), BTreeMap<u64, Process>>,
    /// What clients did to the rows of which each value is unique.
    pub rows: BTreeMap<Bytes, Vec<Event>>,
    /// All acknowledged writes.
    pub acks: Vec<Ack>,
    /// Rows that are written once.
    pub puts: BTreeMap<Bytes, Put>,
    /// Catalogs by version, each as it was first shown.
    pub catalogs: BTreeMap<u64, Arc<Catalog>>,
    /// What a client saw that must not be.
    pub wrong: Vec<String>,
}

/// Shared by all that see something. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Witness(Arc<Mutex<Seen>>);

/// The simulation's time.
#[must_use]
pub fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or(Duration::ZERO)
}

impl Witness {
    /// What was seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process begins on this host.
    pub fn begins(&self, host: &str) {
        *self.seen().lives.entry(host.to_owned()).or_default() += 1;
    }

    /// The host's life.
    #[must_use]
    pub fn life(&self, host: &str) -> u64 {
        self.seen().lives.get(host).copied().unwrap_or(0)
    }

    /// An object was put.
    pub fn stored(&self, host: &str, life: u64, at: &Path, payload: &PutPayload) {
        let parts: Vec<String> = at.parts().map(|p| p.as_ref().to_owned()).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let by = (host.to_owned(), life);
        match parts.as_slice() {
            ["tablets", tablet, "manifest", number] => {
                let (Ok(tablet), Ok(number)) = (tablet.parse(), number.parse()) else { return };
                match Register::decode(&Bytes::from(payload.clone())) {
                    Ok((epoch, _)) => _ = self.seen().manifests.insert((TabletId(tablet), number), (Epoch(epoch), by)),
                    Err(e) => self.wrong(format!("a manifest that does not decode was put at '{at}': {e}")),
                }
            }
            ["log", server, incarnation, number] => {
                let (Ok(server), Ok(incarnation), Ok(number)) = (server.parse(), incarnation.parse(), number.parse()) else { return };
                self.seen().logs.entry((ServerId(server), Incarnation(incarnation))).or_default().insert(number, by);
            }
            _ => {}
        }
    }

    /// Something that must not be.
    pub fn wrong(&self, what: String) {
        self.seen().wrong.push(what);
    }

    /// A client begins an operation on a row; its outcome is unknown until [`Self::answered`].
    #[must_use]
    pub fn asked(&self, key: &Bytes, op: Op) -> usize {
        let mut seen = self.seen();
        let events = seen.rows.entry(key.clone()).or_default();
        events.push(Event { sent: now(), answered: now(), op, answer: Answer::Unknown });
        events.len() - 1
    }

    /// The answer to a row's operation of this number.
    pub fn answered(&self, key: &Bytes, number: usize, answer: Answer) {
        if let Some(event) = self.seen().rows.get_mut(key).and_then(|events| events.get_mut(number)) {
            (event.answered, event.answer) = (now(), answer);
        }
    }

    /// A gateway shows a catalog.
    pub fn shown(&self, catalog: Arc<Catalog>) {
        let seen = &mut *self.seen();
        let version = catalog.version;
        let first = seen.catalogs.entry(version).or_insert_with(|| catalog.clone());
        if *first != catalog {
            seen.wrong.push(format!("two catalogs of version {version}: {first:?} and {catalog:?}"));
        }
    }
}
