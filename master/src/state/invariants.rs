//! What holds in every state: tests call it after each entry.

use super::{ClusterState, Step, Tablet};
use common::ids::{TableId, TabletId};
use common::key::KeyRange;
use common::rpc::master::SnapshotStage;
use common::schema::TableKind;
use std::collections::BTreeSet;

/// The first invariant that `state` breaks, as a sentence.
///
/// # Errors
/// That sentence.
pub fn check(state: &ClusterState) -> Result<(), String> {
    names_are_unique(state)?;
    for (id, table) in &state.tables {
        tablets_cover(state, *id)?;
        let derived = table.kind == TableKind::Derived;
        let mut definitions = state.definitions.values().chain(state.retired.values());
        if derived != state.derived.contains_key(id) || derived != definitions.any(|d| d.table == *id) {
            return Err(format!("table {id} of kind {:?}: books or definition do not fit", table.kind));
        }
    }
    references_exist(state)?;
    owners_have_lived(state)?;
    procedures_have_their_tablets(state)?;
    snapshots_are_whole(state)?;
    copies_have_their_sources(state)?;
    claims_do_not_overlap(state)?;
    runs_ascend(state)
}

fn names_are_unique(state: &ClusterState) -> Result<(), String> {
    let names: BTreeSet<_> = state.tables.values().map(|t| &t.name).collect();
    if names.len() == state.tables.len() { Ok(()) } else { Err("two tables have one name".into()) }
}

/// The tablets of a table cover its key space without overlap.
fn tablets_cover(state: &ClusterState, table: TableId) -> Result<(), String> {
    let mut ranges: Vec<_> = state.tablets_of(table).map(|(_, t)| &t.range).collect();
    ranges.sort_by(|a, b| a.start.cmp(&b.start));
    let begins = ranges.first().is_some_and(|r| r.start.is_empty());
    let ends = ranges.last().is_some_and(|r| r.end.is_none());
    let joined = ranges.windows(2).all(|w| w[0].end.as_ref() == Some(&w[1].start));
    if begins && ends && joined && ranges.iter().all(|r| !r.is_empty()) {
        Ok(())
    } else {
        Err(format!("the tablets of table {table} do not cover its keys once: {ranges:?}"))
    }
}

fn references_exist(state: &ClusterState) -> Result<(), String> {
    let known = |id: &TableId| state.tables.contains_key(id);
    let mut named = (state.tablets.values().map(|t| &t.table))
        .chain(state.derived.keys())
        .chain(state.derived.values().flat_map(|d| d.inputs.iter().map(|f| &f.input)))
        .chain(state.claims.values().map(|c| &c.table))
        .chain(state.watermarks.keys())
        .chain(&state.ingesting)
        .chain(&state.protected)
        .chain(state.schedules.keys())
        .chain(state.definitions.values().chain(state.retired.values()).map(|d| &d.table));
    match named.find(|id| !known(id)) {
        Some(id) => Err(format!("table {id} is named but does not exist")),
        None => Ok(()),
    }
}

/// Who owns a tablet is live, and can read all of its logs.
fn owners_have_lived(state: &ClusterState) -> Result<(), String> {
    for (id, tablet) in &state.tablets {
        let Some((server, life)) = tablet.owner else {
            if tablet.open {
                return Err(format!("tablet {id} is open without an owner"));
            }
            continue;
        };
        let live = state.servers.get(&server).is_some_and(|s| s.live && s.incarnation == life);
        if !live || !state.may_take(tablet, server, life) || tablet.logs.last().is_none_or(|l| (l.server, l.incarnation) != (server, life))
        {
            return Err(format!("tablet {id} belongs to server {server}, incarnation {life}, which is over or does not have its logs"));
        }
    }
    Ok(())
}

/// A procedure and its tablets name each other; what has ended is no tablet any more.
fn procedures_have_their_tablets(state: &ClusterState) -> Result<(), String> {
    for (id, under_way) in &state.procedures {
        if under_way.tablets().iter().any(|t| state.tablets.get(t).is_none_or(|t| t.procedure != Some(*id))) {
            return Err(format!("procedure {id} does not have its tablets"));
        }
        let owned = under_way.tablets().iter().any(|t| state.tablets.get(t).is_some_and(|t| t.owner.is_some()));
        if (under_way.step == Step::Deriving) == owned {
            return Err(format!("procedure {id} is at step {:?}, its tablets owned: {owned}", under_way.step));
        }
    }
    let named =
        |(id, t): (&TabletId, &Tablet)| t.procedure.is_some_and(|p| state.procedures.get(&p).is_none_or(|p| !p.tablets().contains(id)));
    if let Some((id, _)) = state.tablets.iter().find(|t| named(*t)) {
        return Err(format!("tablet {id} names a procedure that does not have it"));
    }
    match state.ended.keys().find(|id| state.tablets.contains_key(*id)) {
        Some(id) => Err(format!("tablet {id} has ended and is one")),
        None => Ok(()),
    }
}

/// Parts of a snapshot show no key twice; those of one that can be used show every key.
fn snapshots_are_whole(state: &ClusterState) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for (id, s) in &state.snapshots {
        let disjoint = s.parts.windows(2).all(|w| w[0].range.end.as_ref().is_some_and(|end| *end <= w[1].range.start));
        if !disjoint || s.stage == SnapshotStage::Ready && !s.missing(&KeyRange::ALL).is_empty() {
            return Err(format!("snapshot {id} shows a key twice or not at all"));
        }
        let taken = state.copies.get(id).is_some_and(|p| p.is_under_way());
        if s.stage == SnapshotStage::Taking && !taken {
            return Err(format!("nobody takes snapshot {id}"));
        }
        if s.stage != SnapshotStage::Dropping && s.name.is_some() && !names.insert((&s.table.name, &s.name)) {
            return Err(format!("snapshot {id} has the name of another one"));
        }
    }
    Ok(())
}

/// What a procedure reads stays until it has ended; what it makes is new, and is no tablet before it is done.
fn copies_have_their_sources(state: &ClusterState) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for (id, p) in state.copies.iter().filter(|(_, p)| p.is_under_way()) {
        let read = p.snapshot(*id).map(|s| state.snapshots.get(&s).map(|s| s.stage));
        if matches!(read, Some(None | Some(SnapshotStage::Dropping))) {
            return Err(format!("procedure {id} reads a snapshot that is gone"));
        }
        if p.makes().iter().any(|part| state.tablets.contains_key(&part.tablet) || state.ended.contains_key(&part.tablet)) {
            return Err(format!("procedure {id} makes a tablet that is there, or has ended"));
        }
        let Some(table) = p.new_table() else { continue };
        if state.table_named(&table.name).is_some() || !names.insert(&table.name) {
            return Err(format!("procedure {id} makes a table whose name is taken"));
        }
    }
    Ok(())
}

fn claims_do_not_overlap(state: &ClusterState) -> Result<(), String> {
    for (id, claim) in &state.claims {
        let mut others = state.claims.iter().filter(|(other, c)| *other > id && c.table == claim.table);
        if let Some((other, _)) = others.find(|(_, c)| claim.overlaps(&c.windows, c.whole)) {
            return Err(format!("claims {id} and {other} overlap"));
        }
    }
    Ok(())
}

fn runs_ascend(state: &ClusterState) -> Result<(), String> {
    for (id, d) in &state.derived {
        let ascend = d.runs.windows(2).all(|w| w[0].1 < w[1].1);
        if !ascend || d.runs.last().is_some_and(|(_, version)| *version > d.version) {
            return Err(format!("table {id}: its runs do not ascend to its version {}", d.version));
        }
    }
    Ok(())
}
