//! Procedures on whole tables. What a step waits for, and what it says to a death:
//!
//! | step | waits for | if a server's life or the leader's ends |
//! |---|---|---|
//! | flushing | the owners to flush their tablets, the leader to note each manifest | the next owner is asked, the next leader notes |
//! | copying | the leader to do what is left: copy the state, put manifests, copy objects | the next leader goes on |
//!
//! A clone and a backup of a table begin as a snapshot without a name, which ends with them. A table that is being made is
//! in no catalog; only its name is taken. It appears whole, with all its tablets, in the entry that ends the procedure.

use super::names::check_dataset;
use super::snapshots::{self, WHY_SCHEDULE};
use super::{ClusterState, NewPart, TableProcedure, TableStep, TableWork, Tablet, endings};
use common::ids::{ProcedureId, TableId};
use common::rpc::master::{BackupContents, SnapshotPartView, SnapshotStage, TableSource};
use common::schema::{Table, TableKind, TableSpec};
use common::time::Micros;
use common::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Ended procedures that are remembered.
const HISTORY: usize = 100;
const OPERATOR: &str = "operator";

/// The procedure under way that reads this snapshot, other than the one that takes it.
pub(super) fn user_of(state: &ClusterState, snapshot: ProcedureId) -> Option<ProcedureId> {
    let mut users = state.copies.iter().filter(|(id, p)| **id != snapshot && p.is_under_way() && p.snapshot(**id) == Some(snapshot));
    users.next().map(|(id, _)| *id)
}

/// Whether a table of this name is being made.
///
/// # Errors
/// `AlreadyExists`, naming the procedure.
pub(super) fn check_free(state: &ClusterState, name: &str) -> Result<()> {
    let mut makers = state.copies.iter().filter(|(_, p)| p.is_under_way() && p.new_table().is_some_and(|t| t.name == name));
    match makers.next() {
        None => Ok(()),
        Some((id, _)) => Err(Error::already_exists(format!("procedure {id} is making table '{name}': wait for its end, or cancel it"))),
    }
}

/// Begins a snapshot; the same one again is the one that is under way.
///
/// # Errors
/// As [`snapshots::snapshotted`]; `InvalidArgument` for a bad name, `AlreadyExists`.
pub(super) fn take_snapshot(
    state: &mut ClusterState,
    table: &str,
    name: &str,
    expires_after: Option<u64>,
    why: &str,
    at: Micros,
) -> Result<ProcedureId> {
    snapshots::check_name(name)?;
    let table = snapshots::snapshotted(state, table)?;
    if let Some((id, there)) = snapshots::find(state, &table.name, name) {
        let same = there.stage == SnapshotStage::Taking && there.table.id == table.id;
        let known = Error::already_exists(format!("snapshot '{}@{name}' exists already: drop it, or choose another name", table.name));
        return if same { Ok(id) } else { Err(known) };
    }
    let expires_at = expires_after.map(|seconds| at.after(Duration::from_secs(seconds)));
    let id = state.ids.procedure();
    snapshots::add(state, id, &table, Some(name), why, expires_at, at);
    insert(state, id, TableWork::Snapshot { table: table.name.clone(), name: name.to_owned() }, why, TableStep::Flushing, at);
    Ok(id)
}

/// Begins a clone. The same one again is the one that is under way.
///
/// # Errors
/// `NotFound` without such a source, `FailedPrecondition` for other than raw tables, `AlreadyExists` for the new name.
pub(super) fn clone_table(state: &mut ClusterState, source: &TableSource, name: &str, at: Micros) -> Result<ProcedureId> {
    let same = |p: &TableProcedure| matches!(&p.what, TableWork::Clone { source: s, table, .. } if s == source && table.name == name);
    if let Some(id) = under_way(state, same) {
        return Ok(id);
    }
    check_new(state, name)?;
    let (id, snapshot, shape) = find_source(state, source, at)?;
    let table = Arc::new(copy_of(&shape, state.ids.table(), name)?);
    let step = if snapshot == id { TableStep::Flushing } else { TableStep::Copying };
    insert(state, id, TableWork::Clone { source: source.clone(), snapshot, table, makes: Vec::new() }, OPERATOR, step, at);
    if step == TableStep::Copying {
        choose_tablets(state, id);
    }
    Ok(id)
}

/// Begins a backup. The same one again is the one that is under way.
///
/// # Errors
/// `NotFound` without such a source, `FailedPrecondition` for other than raw tables, or if another one goes to that place.
pub(super) fn backup_table(state: &mut ClusterState, source: &TableSource, location: &str, at: Micros) -> Result<ProcedureId> {
    let there = |p: &TableProcedure| matches!(&p.what, TableWork::Backup { location: l, .. } if l == location);
    if let Some(id) = under_way(state, there) {
        let same = state.copies.get(&id).is_some_and(|p| matches!(&p.what, TableWork::Backup { source: s, .. } if s == source));
        let other = Error::refused(format!("procedure {id} makes a backup at '{location}': name another place"));
        return if same { Ok(id) } else { Err(other) };
    }
    let (id, snapshot, _) = find_source(state, source, at)?;
    let step = if snapshot == id { TableStep::Flushing } else { TableStep::Copying };
    insert(state, id, TableWork::Backup { source: source.clone(), snapshot, location: location.to_owned() }, OPERATOR, step, at);
    Ok(id)
}

/// Begins a restore of what the leader has found. The same one again is the one that is under way.
///
/// # Errors
/// `AlreadyExists` for the new name; `Internal` if nobody has read the backup.
pub(super) fn restore_table(
    state: &mut ClusterState,
    location: &str,
    name: &str,
    contents: Option<&BackupContents>,
    at: Micros,
) -> Result<ProcedureId> {
    let contents = contents.ok_or_else(|| Error::internal("a restore begins with what the leader has read"))?;
    let same = |p: &TableProcedure| matches!(&p.what, TableWork::Restore { backup, table, .. } if *backup == contents.backup && table.name == name);
    if let Some(id) = under_way(state, same) {
        return Ok(id);
    }
    check_new(state, name)?;
    let id = state.ids.procedure();
    let table = Arc::new(copy_of(&contents.table, state.ids.table(), name)?);
    let parts = contents.parts.iter();
    let makes = parts.map(|p| NewPart { tablet: state.ids.tablet(), range: p.range.clone(), from: p.tablet }).collect();
    let (location, backup, watermark) = (location.to_owned(), contents.backup.clone(), contents.watermark);
    insert(state, id, TableWork::Restore { location, backup, watermark, table, makes }, OPERATOR, TableStep::Copying, at);
    Ok(id)
}

fn under_way(state: &ClusterState, is: impl Fn(&TableProcedure) -> bool) -> Option<ProcedureId> {
    state.copies.iter().find(|(_, p)| p.is_under_way() && is(p)).map(|(id, _)| *id)
}

/// A name that a new table can have.
fn check_new(state: &ClusterState, name: &str) -> Result<()> {
    check_dataset(name)?;
    check_free(state, name)?;
    if state.table_named(name).is_some() {
        return Err(Error::already_exists(format!("table '{name}' exists already: choose another name")));
    }
    Ok(())
}

/// The number of the procedure that begins, the snapshot that it reads (its own number: one that is taken first), and the table in it.
fn find_source(state: &mut ClusterState, source: &TableSource, at: Micros) -> Result<(ProcedureId, ProcedureId, Arc<Table>)> {
    match source {
        TableSource::Table { table } => {
            let shape = snapshots::snapshotted(state, table)?;
            let id = state.ids.procedure();
            snapshots::add(state, id, &shape, None, OPERATOR, None, at);
            Ok((id, id, shape))
        }
        TableSource::Snapshot { table, snapshot } => {
            let none = || Error::not_found(format!("there is no snapshot '{table}@{snapshot}'"));
            let (found, there) = snapshots::find(state, table, snapshot).ok_or_else(none)?;
            if there.stage != SnapshotStage::Ready {
                return Err(Error::refused(format!("snapshot '{table}@{snapshot}' is still being taken: wait for its end")));
            }
            let shape = there.table.clone();
            Ok((state.ids.procedure(), found, shape))
        }
        TableSource::At { table, at } => {
            let none = || Error::not_found(format!("no snapshot of table '{table}' was taken at {at} or before"));
            let (found, there) = snapshots::newest_at(state, table, *at).ok_or_else(none)?;
            let shape = there.table.clone();
            Ok((state.ids.procedure(), found, shape))
        }
    }
}

/// The same table with another id and name. Files hold the ids of families and columns, so these stay.
fn copy_of(table: &Table, id: TableId, name: &str) -> Result<Table> {
    let spec = TableSpec { name: name.to_owned(), split_at: Vec::new(), ..table.spec.clone() };
    spec.check()?;
    Ok(Table { id, name: name.to_owned(), kind: TableKind::Raw, spec, ..table.clone() })
}

fn insert(state: &mut ClusterState, id: ProcedureId, what: TableWork, why: &str, step: TableStep, at: Micros) {
    let why = why.to_owned();
    state.copies.insert(id, Arc::new(TableProcedure { what, why, step, begun_at: at, ended_at: None, error: None }));
}

/// A part of a procedure's own snapshot is there; once all are, the leader works.
pub(super) fn part(state: &mut ClusterState, id: ProcedureId, part: &SnapshotPartView, at: Micros) {
    if !snapshots::part(state, id, part, at) {
        return;
    }
    if let Some(p) = state.copies.get_mut(&id).filter(|p| p.is_under_way()) {
        Arc::make_mut(p).step = TableStep::Copying;
        choose_tablets(state, id);
    }
}

/// A clone's tablets: one a part of its snapshot.
fn choose_tablets(state: &mut ClusterState, id: ProcedureId) {
    let ClusterState { copies, snapshots, ids, .. } = state;
    let Some(TableWork::Clone { snapshot, makes, .. }) = copies.get_mut(&id).map(|p| &mut Arc::make_mut(p).what) else { return };
    let Some(found) = snapshots.get(snapshot) else { return };
    let part = |p: &SnapshotPartView| NewPart { tablet: ids.tablet(), range: p.range.clone(), from: p.tablet };
    *makes = found.parts.iter().map(part).collect();
}

/// The leader has done all that was left.
pub(super) fn done(state: &mut ClusterState, id: ProcedureId, at: Micros) {
    let Some(p) = state.copies.get(&id).filter(|p| p.is_under_way() && p.step == TableStep::Copying).cloned() else { return };
    match &p.what {
        TableWork::Snapshot { .. } => {
            snapshots::set_stage(state, id, SnapshotStage::Ready);
        }
        TableWork::Clone { snapshot, table, makes, .. } => {
            let watermark = state.snapshots.get(snapshot).and_then(|s| s.watermark);
            appear(state, table, makes, watermark);
        }
        TableWork::Restore { watermark, table, makes, .. } => appear(state, table, makes, *watermark),
        TableWork::Backup { .. } => {}
    }
    if p.snapshot(id) == Some(id) && !matches!(p.what, TableWork::Snapshot { .. }) {
        snapshots::discard(state, id);
    }
    end(state, id, None, at);
}

/// The new table is there, whole.
fn appear(state: &mut ClusterState, table: &Arc<Table>, makes: &[NewPart], watermark: Option<Micros>) {
    state.tables.insert(table.id, table.clone());
    for part in makes {
        state.tablets.insert(part.tablet, Tablet::new(table.id, part.range.clone()));
    }
    if let Some(at) = watermark {
        state.watermarks.insert(table.id, at);
    }
}

/// Ends a procedure that cannot be carried out, or is not wanted any more. What was made is taken away.
pub(super) fn fail(state: &mut ClusterState, id: ProcedureId, error: &str, at: Micros) {
    let Some(p) = state.copies.get(&id).filter(|p| p.is_under_way()).cloned() else { return };
    if p.snapshot(id) == Some(id) {
        snapshots::discard(state, id);
    }
    p.makes().iter().for_each(|part| endings::add_unborn(state, part.tablet));
    end(state, id, Some(error.to_owned()), at);
}

/// Ends a procedure at an operator's wish; `false`: it is none of these.
///
/// # Errors
/// `NotFound` if it has ended.
pub(super) fn cancel(state: &mut ClusterState, id: ProcedureId, at: Micros) -> Result<bool> {
    match state.copies.get(&id) {
        None => Ok(false),
        Some(p) if p.is_under_way() => {
            fail(state, id, "cancelled", at);
            Ok(true)
        }
        Some(_) => Err(Error::not_found(format!("procedure {id} is not under way"))),
    }
}

/// Drops a snapshot.
///
/// # Errors
/// `NotFound`; `FailedPrecondition` while something is made of it.
pub(super) fn drop_snapshot(state: &mut ClusterState, table: &str, name: &str, at: Micros) -> Result<()> {
    let found = snapshots::find(state, table, name).map(|(id, snapshot)| (id, snapshot.stage));
    let (id, stage) = found.ok_or_else(|| Error::not_found(format!("there is no snapshot '{table}@{name}'")))?;
    if let Some(user) = user_of(state, id) {
        return Err(Error::refused(format!("procedure {user} needs snapshot '{table}@{name}': wait for its end, or cancel it")));
    }
    if stage == SnapshotStage::Taking {
        fail(state, id, "the snapshot was dropped", at);
    }
    snapshots::discard(state, id);
    Ok(())
}

/// Snapshots that have expired or were replaced; one that something has begun to be made of meanwhile stays.
pub(super) fn drop_outlived(state: &mut ClusterState, ids: &[ProcedureId]) {
    for id in ids {
        if state.snapshots.get(id).is_some_and(|s| s.stage == SnapshotStage::Ready) && user_of(state, *id).is_none() {
            snapshots::discard(state, *id);
        }
    }
}

/// A table is dropped: what has not yet got all of it fails.
pub(super) fn table_dropped(state: &mut ClusterState, table: TableId, at: Micros) {
    let taking = |id: &ProcedureId| state.snapshots.get(id).is_some_and(|s| s.stage == SnapshotStage::Taking && s.table.id == table);
    let flushing = state.copies.iter().filter(|(id, p)| p.is_under_way() && p.step == TableStep::Flushing && taking(id));
    let flushing: Vec<_> = flushing.map(|(id, _)| *id).collect();
    flushing.into_iter().for_each(|id| fail(state, id, "the table was dropped", at));
}

fn end(state: &mut ClusterState, id: ProcedureId, error: Option<String>, at: Micros) {
    if let Some(p) = state.copies.get_mut(&id).map(Arc::make_mut) {
        (p.ended_at, p.error) = (Some(at), error);
    }
    let ended: Vec<_> = state.copies.iter().filter(|(_, p)| !p.is_under_way()).map(|(id, _)| *id).collect();
    for old in ended.iter().take(ended.len().saturating_sub(HISTORY)) {
        state.copies.remove(old);
    }
}

impl ClusterState {
    /// Snapshots that are over, or that a schedule has replaced by newer ones.
    #[must_use]
    pub fn outlived_snapshots(&self, now: Micros) -> Vec<ProcedureId> {
        let ready = || self.snapshots.iter().filter(|(_, s)| s.stage == SnapshotStage::Ready && s.name.is_some());
        let mut outlived: BTreeSet<_> = ready().filter(|(_, s)| s.expires_at.is_some_and(|at| at <= now)).map(|(id, _)| *id).collect();
        for (table, schedule) in &self.schedules {
            let of_schedule: Vec<_> = ready().filter(|(_, s)| s.table.id == *table && s.why == WHY_SCHEDULE).map(|(id, _)| *id).collect();
            let surplus = of_schedule.len().saturating_sub(usize::try_from(schedule.keep).unwrap_or(usize::MAX));
            outlived.extend(&of_schedule[..surplus]);
        }
        outlived.into_iter().filter(|id| user_of(self, *id).is_none()).collect()
    }
}
