//! The state of a cluster whose masters have lost theirs, from its copy in the object store and what else lies there.
//!
//! The copy may be some seconds old. What is deleted, and which tablets begin, is in a copy before it is done
//! (`server::procedures`), so every tablet that has served is in it, at least as one that a procedure makes. Epochs, logs and
//! lives are newer in the manifests; numbers that the copy does not know of may have been given, so all go on far above.

use super::{ClusterState, Life, Step, TableStep, claims, copies, endings, procedures};
use common::config::LogKind;
use common::ids::{Epoch, Incarnation, ProcedureId, RunId, ServerId, TableId, TabletId};
use common::objects::{Referrer, SstableName};
use common::time::Micros;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers and epochs go on so far above the highest that was found.
pub const FAR: u64 = 1 << 20;
/// Why what was under way has ended.
const WHY: &str = "the masters' state was restored from its copy";

/// What lies in the object store beside the copy.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The newest manifest of every tablet that has one.
    pub manifests: BTreeMap<TabletId, FoundManifest>,
    /// Lives whose logs lie in the object store.
    pub logs: BTreeSet<(ServerId, Incarnation)>,
}

/// What counts of a manifest.
#[derive(Clone, Debug)]
pub struct FoundManifest {
    /// Its table.
    pub table: TableId,
    /// Of the owner that put it.
    pub epoch: Epoch,
    /// Lives that it names: the one that put it, and the one whose log it needs.
    pub lives: [(ServerId, Incarnation); 2],
    /// The life whose log holds what is not flushed; `None`: all is.
    pub log: Option<(ServerId, Incarnation)>,
    /// Runs whose staged rows it names.
    pub staged: Vec<RunId>,
    /// The SSTables that it names.
    pub sstables: Vec<SstableName>,
}

/// What an operator should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Tables and tablets that the cluster has.
    pub tables: usize,
    /// See `tables`.
    pub tablets: usize,
    /// Tablets whose rows that are not flushed lie on the volume of a server.
    pub on_volumes: Vec<(TabletId, ServerId)>,
    /// Tablets with a manifest that belong to nothing: made after the copy by what was never answered.
    pub unknown: Vec<TabletId>,
}

/// Brings a copied state up to date.
pub fn restore(state: &mut ClusterState, found: &Found, at: Micros) -> Restored {
    state.version += FAR;
    state.ids.skip(found_ids(state, found), FAR);
    end_lives(state, found);
    end_claims(state, found, at);
    settle_procedures(state, found, at);
    settle_copies(state, found, at);
    let on_volumes = settle_tablets(state, found);
    for (id, manifest) in &found.manifests {
        state.pins.hold_too(&Referrer::Tablet(*id), &manifest.sstables);
    }
    super::fences::prune(state);
    for derived in state.derived.iter().map(|(id, _)| *id).collect::<Vec<_>>() {
        if let Some(derived) = state.derived.get_mut(&derived) {
            derived.unverified = true;
        }
    }
    Restored { tables: state.tables.len(), tablets: state.tablets.len(), on_volumes, unknown: unknown(state, found) }
}

/// The highest numbers of tables, tablets and servers that anything in the store has.
fn found_ids(state: &ClusterState, found: &Found) -> (TableId, TabletId, ServerId) {
    let table = found.manifests.values().map(|m| m.table).max().unwrap_or_default();
    let tablet = found.manifests.keys().last().copied().unwrap_or_default();
    let named = found.manifests.values().flat_map(|m| m.lives).chain(found.logs.iter().copied());
    let server = named.map(|(server, _)| server).chain(state.servers.keys().copied()).max().unwrap_or_default();
    (table, tablet, server)
}

/// All lives that the store knows of are over: who still lives begins a new one.
fn end_lives(state: &mut ClusterState, found: &Found) {
    let known: Vec<_> = state.servers.iter().map(|(id, s)| (*id, s.incarnation)).collect();
    let named = found.manifests.values().flat_map(|m| m.lives).chain(found.logs.iter().copied());
    let mut newest: BTreeMap<ServerId, Incarnation> = BTreeMap::new();
    // A restored tablet's first manifest names server 0, which is nobody.
    for (server, life) in named.chain(known).filter(|(server, _)| *server > ServerId(0)) {
        let there = newest.entry(server).or_default();
        *there = life.max(*there);
    }
    for (id, incarnation) in newest {
        let mut server = state.servers.get(&id).cloned().unwrap_or_else(super::servers::unknown);
        (server.live, server.incarnation) = (false, incarnation);
        state.servers.insert(id, server);
    }
}

fn end_claims(state: &mut ClusterState, found: &Found, at: Micros) {
    for claim in state.claims.iter().map(|(id, _)| *id).collect::<Vec<_>>() {
        claims::abort(state, claim, at);
    }
    // Runs that were claimed after the copy was made.
    for manifest in found.manifests.values() {
        let Some(derived) = state.derived.get_mut(&manifest.table) else { continue };
        for run in &manifest.staged {
            let known = derived.runs.iter().any(|(r, _)| r == run) || derived.aborted.iter().any(|a| a.run == *run);
            if !known {
                derived.aborted.push(super::Aborted { run: *run, at });
            }
        }
    }
}

/// Whether a tablet has been owned: then the entry that made it one was committed.
fn has_served(found: &Found, tablet: TabletId) -> bool {
    found.manifests.get(&tablet).is_some_and(|m| m.epoch > Epoch(0))
}

/// A split or a merge whose tablets have served is done; everything else ends, and the tablets stay as they were.
fn settle_procedures(state: &mut ClusterState, found: &Found, at: Micros) {
    for id in state.procedures.iter().map(|(id, _)| *id).collect::<Vec<ProcedureId>>() {
        let Some(under_way) = state.procedures.get(&id) else { continue };
        if under_way.step == Step::Deriving && under_way.makes.iter().any(|t| has_served(found, *t)) {
            procedures::derived(state, id, at);
        } else if under_way.step == Step::Deriving {
            procedures::failed(state, id, WHY, at);
        } else {
            // Only one that has closed all its tablets cannot be cancelled.
            let _ = procedures::cancel(state, id, WHY, at);
        }
    }
}

/// A table whose tablets have served is there; other procedures on tables go on where they were.
fn settle_copies(state: &mut ClusterState, found: &Found, at: Micros) {
    let served = |p: &super::TableProcedure| p.makes().iter().any(|part| has_served(found, part.tablet));
    let under_way = state.copies.iter().filter(|(_, p)| p.is_under_way() && p.step == TableStep::Copying && served(p));
    for id in under_way.map(|(id, _)| *id).collect::<Vec<_>>() {
        copies::done(state, id, at);
    }
}

/// Nobody owns a tablet; each goes on above every epoch that was seen, with the log that its manifest names.
fn settle_tablets(state: &mut ClusterState, found: &Found) -> Vec<(TabletId, ServerId)> {
    let mut on_volumes = Vec::new();
    for id in state.tablets.iter().map(|(id, _)| *id).collect::<Vec<_>>() {
        let manifest = found.manifests.get(&id);
        let log = manifest.and_then(|m| m.log).map(|(server, incarnation)| {
            let known = state.tablets.get(&id).and_then(|t| t.logs.iter().find(|l| (l.server, l.incarnation) == (server, incarnation)));
            let there = if found.logs.contains(&(server, incarnation)) { LogKind::Object } else { LogKind::Disk };
            Life { server, incarnation, log: known.map_or(there, |life| life.log) }
        });
        if let Some(life) = log.filter(|life| life.log == LogKind::Disk) {
            on_volumes.push((id, life.server));
        }
        state.change_tablet(id, |t| {
            t.epoch = above(t.epoch.max(manifest.map_or(Epoch(0), |m| m.epoch)));
            (t.owner, t.open) = (None, false);
            t.logs = log.into_iter().collect();
        });
    }
    for id in state.ended.iter().map(|(id, _)| *id).collect::<Vec<_>>() {
        let seen = found.manifests.get(&id).map_or(Epoch(0), |m| m.epoch);
        endings::raise(state, id, |epoch| above(epoch.max(seen)));
    }
    on_volumes
}

fn above(epoch: Epoch) -> Epoch {
    Epoch(epoch.0 + FAR)
}

fn unknown(state: &ClusterState, found: &Found) -> Vec<TabletId> {
    let makes: BTreeSet<_> = state.copies.values().flat_map(|p| p.makes().iter().map(|part| part.tablet)).collect();
    let known = |id: &TabletId| state.tablets.contains_key(id) || state.ended.contains_key(id) || makes.contains(id);
    found.manifests.keys().filter(|id| !known(id)).copied().collect()
}

/// A derived table is computed on: no tablet shows a version that the copy did not know.
pub(super) fn verified(state: &mut ClusterState, table: TableId) {
    if let Some(derived) = state.derived.get_mut(&table) {
        derived.unverified = false;
    }
}

/// A tablet shows a version that the copy did not know: the books of that run are lost, so no other may take its number. The
/// table is paused, and shows what it did.
pub(super) fn ahead(state: &mut ClusterState, table: TableId) {
    let of_table = state.definitions.iter().find(|(_, d)| d.table == table).map(|(name, _)| name.clone());
    if let Some(definition) = of_table.and_then(|name| state.definitions.get_mut(&name)) {
        definition.paused = true;
    }
}
