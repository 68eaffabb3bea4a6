//! Snapshots of tables: for each tablet its manifest at one seq, under a name of its own, whose SSTables are held until the
//! snapshot is dropped.
//!
//! While one is taken nothing is locked: tablets may be moved, split and merged. A part is what a tablet shows of those keys
//! that no part shows yet, so in the end the parts cover all keys once, whatever the tablets were meanwhile.

use super::ClusterState;
use common::ids::{ProcedureId, TableId};
use common::key::KeyRange;
use common::objects::Referrer;
use common::rpc::master::{Schedule, SnapshotPartView, SnapshotStage, SnapshotView};
use common::schema::{Table, TableKind};
use common::time::Micros;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Longest name of a snapshot in bytes.
const MAX_NAME: usize = 100;
/// A schedule may ask for this many seconds at least: each snapshot flushes all tablets.
const MIN_EVERY: u64 = 1;
/// Snapshots of one schedule that are kept at most: each holds SSTables.
const MAX_KEEP: u64 = 10_000;
/// Why the leader takes one by itself.
pub const WHY_SCHEDULE: &str = "schedule";

/// A snapshot. Its number is that of the procedure that takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableSnapshot {
    /// The table when it was begun; it may have been dropped since.
    pub table: Arc<Table>,
    /// Unique among the table's; `None`: of a procedure, for as long as that needs it.
    pub name: Option<String>,
    /// Who or what wanted it.
    pub why: String,
    /// Where it is.
    pub stage: SnapshotStage,
    /// When it was begun: what was acknowledged before is in it.
    pub begun_at: Micros,
    /// When its last part was taken: what was written after is not in it.
    pub taken_at: Option<Micros>,
    /// When it is dropped by itself.
    pub expires_at: Option<Micros>,
    /// The table's watermark when it was begun.
    pub watermark: Option<Micros>,
    /// In key order, without overlap; once taken they cover all keys.
    pub parts: Vec<SnapshotPartView>,
}

impl TableSnapshot {
    /// The keys of `range` that no part shows yet.
    #[must_use]
    pub fn missing(&self, range: &KeyRange) -> Vec<KeyRange> {
        let mut missing = Vec::new();
        let mut left = Some(range.clone());
        for part in &self.parts {
            let Some(rest) = left.take() else { break };
            let Some(common) = rest.intersect(&part.range) else {
                left = Some(rest);
                continue;
            };
            if rest.start < common.start {
                missing.push(KeyRange { start: rest.start.clone(), end: Some(common.start.clone()) });
            }
            left = common.end.map(|end| KeyRange { start: end, end: rest.end }).filter(|rest| !rest.is_empty());
        }
        missing.extend(left);
        missing
    }

    /// Whether tablets with these keys are to be flushed for it.
    #[must_use]
    pub fn wants(&self, table: TableId, range: &KeyRange) -> bool {
        self.stage == SnapshotStage::Taking && self.table.id == table && !self.missing(range).is_empty()
    }
}

/// The name of a snapshot's objects and holds.
#[must_use]
pub fn object_name(id: ProcedureId) -> String {
    format!("s{id}")
}

/// A raw table that snapshots can be taken of.
///
/// # Errors
/// `NotFound`, `FailedPrecondition` for other kinds.
pub(super) fn snapshotted(state: &ClusterState, name: &str) -> Result<Arc<Table>> {
    let table = state.existing(name)?;
    match table.kind {
        TableKind::Raw => Ok(table.clone()),
        TableKind::Derived => Err(Error::refused(format!(
            "table '{name}' is made by a definition, which makes it again at any time: snapshots, clones and backups are of raw tables"
        ))),
        TableKind::System => {
            Err(Error::refused(format!("table '{name}' belongs to Stele: snapshots, clones and backups are of raw tables")))
        }
    }
}

/// A snapshot that is being taken.
pub(super) fn add(
    state: &mut ClusterState,
    id: ProcedureId,
    table: &Arc<Table>,
    name: Option<&str>,
    why: &str,
    expires_at: Option<Micros>,
    at: Micros,
) {
    let snapshot = TableSnapshot {
        table: table.clone(),
        name: name.map(ToOwned::to_owned),
        why: why.to_owned(),
        stage: SnapshotStage::Taking,
        begun_at: at,
        taken_at: None,
        expires_at,
        watermark: state.watermarks.get(&table.id).copied(),
        parts: Vec::new(),
    };
    state.snapshots.insert(id, Arc::new(snapshot));
}

/// A name that a snapshot can have.
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(Error::invalid(format!("'{name}' cannot name a snapshot: use 1 to {MAX_NAME} of A-Z, a-z, 0-9, '.', '_', '-', ':'")))
}

/// The snapshot of this name that is there, or being taken.
pub(super) fn find<'a>(state: &'a ClusterState, table: &str, name: &str) -> Option<(ProcedureId, &'a Arc<TableSnapshot>)> {
    let named = |s: &TableSnapshot| s.table.name == table && s.name.as_deref() == Some(name) && s.stage != SnapshotStage::Dropping;
    state.snapshots.iter().find(|(_, s)| named(s)).map(|(id, s)| (*id, s))
}

/// A tablet's manifest lies under the snapshot's name, with all its SSTables held. It counts for the keys that no part shows
/// yet, if the tablet still is one: else its manifest may have been emptied before it was read. Whether it was the last that
/// was missing.
pub(super) fn part(state: &mut ClusterState, id: ProcedureId, part: &SnapshotPartView, at: Micros) -> bool {
    let Some(tablet) = state.tablets.get(&part.tablet) else { return false };
    let Some(snapshot) = state.snapshots.get_mut(&id).map(Arc::make_mut) else { return false };
    if tablet.range != part.range || !snapshot.wants(tablet.table, &part.range) {
        return false;
    }
    let missing = snapshot.missing(&part.range);
    snapshot.parts.extend(missing.into_iter().map(|range| SnapshotPartView { range, ..part.clone() }));
    snapshot.parts.sort_by(|a, b| a.range.start.cmp(&b.range.start));
    let whole = snapshot.missing(&KeyRange::ALL).is_empty();
    if whole {
        snapshot.taken_at = Some(at);
    }
    whole
}

pub(super) fn set_stage(state: &mut ClusterState, id: ProcedureId, stage: SnapshotStage) {
    if let Some(snapshot) = state.snapshots.get_mut(&id) {
        Arc::make_mut(snapshot).stage = stage;
    }
}

/// Its objects are to be deleted; nobody sees it any more.
pub(super) fn discard(state: &mut ClusterState, id: ProcedureId) {
    set_stage(state, id, SnapshotStage::Dropping);
}

/// Its objects are deleted: what it held is free.
pub(super) fn gone(state: &mut ClusterState, id: ProcedureId) {
    if state.snapshots.get(&id).is_some_and(|s| s.stage == SnapshotStage::Dropping) {
        state.snapshots.remove(&id);
        state.pins.let_go(&object_name(id));
    }
}

/// Sets or ends a table's schedule.
///
/// # Errors
/// As [`snapshotted`]; `InvalidArgument` for numbers out of range.
pub(super) fn schedule(state: &mut ClusterState, table: &str, schedule: Option<Schedule>) -> Result<()> {
    let table = snapshotted(state, table)?.id;
    if let Some(Schedule { every, keep }) = schedule {
        if every < MIN_EVERY || !(1..=MAX_KEEP).contains(&keep) {
            return Err(Error::invalid(format!("snapshots every {every} s, {keep} kept: use 1 s or more, and keep 1 to {MAX_KEEP}")));
        }
        state.schedules.insert(table, schedule.unwrap_or(Schedule { every, keep }));
    } else {
        state.schedules.remove(&table);
    }
    Ok(())
}

/// A table is dropped: its snapshots stay. Those of its schedule, which nothing prunes any more, stay for as long as they would have.
pub(super) fn table_dropped(state: &mut ClusterState, table: TableId, at: Micros) {
    let Some(Schedule { every, keep }) = state.schedules.remove(&table) else { return };
    let until = at.after(Duration::from_secs(every.saturating_mul(keep)));
    let of_schedule = state.snapshots.iter().filter(|(_, s)| s.table.id == table && s.why == WHY_SCHEDULE);
    for id in of_schedule.map(|(id, _)| *id).collect::<Vec<_>>() {
        if let Some(snapshot) = state.snapshots.get_mut(&id).map(Arc::make_mut) {
            snapshot.expires_at = Some(snapshot.expires_at.map_or(until, |at| at.min(until)));
        }
    }
}

impl ClusterState {
    /// Whether this referrer's holds count: those of snapshots that are not there any more, or never were, do not.
    pub(super) fn may_hold(&self, referrer: &Referrer) -> bool {
        match referrer {
            Referrer::Tablet(_) => true,
            Referrer::Snapshot { name, .. } => {
                let id = name.strip_prefix('s').and_then(|id| id.parse().ok()).map(ProcedureId);
                id.and_then(|id| self.snapshots.get(&id)).is_some_and(|s| s.stage == SnapshotStage::Taking)
            }
        }
    }

    /// The snapshots that are being taken, newest first.
    #[must_use]
    pub fn snapshots_under_way(&self) -> Vec<(ProcedureId, &Arc<TableSnapshot>)> {
        self.snapshots.iter().rev().filter(|(_, s)| s.stage == SnapshotStage::Taking).map(|(id, s)| (*id, s)).collect()
    }

    /// Tables whose schedule wants another snapshot now: none is being taken, and the newest is old enough.
    #[must_use]
    pub fn due_snapshots(&self, now: Micros) -> Vec<String> {
        let due = self.schedules.iter().filter(|(table, schedule)| {
            let mut own = self.snapshots.values().filter(|s| s.table.id == **table && s.why == WHY_SCHEDULE);
            own.all(|s| s.stage != SnapshotStage::Taking && s.begun_at.after(Duration::from_secs(schedule.every)) <= now)
        });
        due.filter_map(|(table, _)| self.tables.get(table).map(|t| t.name.clone())).collect()
    }

    /// The named snapshots, by table, then time.
    #[must_use]
    pub fn snapshot_views(&self) -> Vec<SnapshotView> {
        let view = |(id, s): (&ProcedureId, &Arc<TableSnapshot>)| {
            Some(SnapshotView {
                id: *id,
                table: s.table.name.clone(),
                name: s.name.clone()?,
                why: s.why.clone(),
                stage: s.stage,
                begun_at: s.begun_at,
                taken_at: s.taken_at,
                expires_at: s.expires_at,
                parts: s.parts.clone(),
            })
        };
        let mut views: Vec<_> = self.snapshots.iter().filter(|(_, s)| s.stage != SnapshotStage::Dropping).filter_map(view).collect();
        views.sort_by(|a, b| (&a.table, a.begun_at, a.id).cmp(&(&b.table, b.begun_at, b.id)));
        views
    }
}

/// The newest usable snapshot of a table that shows nothing written after `at`.
pub(super) fn newest_at<'a>(state: &'a ClusterState, table: &str, at: Micros) -> Option<(ProcedureId, &'a Arc<TableSnapshot>)> {
    let fits = |s: &TableSnapshot| {
        s.table.name == table && s.name.is_some() && s.stage == SnapshotStage::Ready && s.taken_at.is_some_and(|taken| taken <= at)
    };
    let fitting = state.snapshots.iter().filter(|(_, s)| fits(s));
    fitting.max_by_key(|(id, s)| (s.taken_at, **id)).map(|(id, s)| (*id, s))
}
