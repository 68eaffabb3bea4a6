//! What of a row a compaction keeps: all that a reader at a retained point, at the floor or above can tell apart.
//!
//! A merge may hold any part of a tablet's SSTables. What it removes must be dead whatever the others hold:
//!
//! - a cell that a delete in the merge hides, or that a higher seq of the same timestamp replaces, is dead for ever;
//! - of the versions that condemn a cell only those count that no delete elsewhere can hide without hiding the cell
//!   too: versions of a higher seq, and all of them where nothing outside the merge is numbered below the cell.
//!   (A delete of a time range can. That is the one open case: what it lets show is removed by a later compaction.)
//! - of an aggregate's parts those that no reader can tell apart become [one](super::aggregates);
//! - a delete goes once nothing outside the merge is numbered below it and no cell that it hides was kept.

use super::aggregates::join_parts;
use super::points::Points;
use crate::format::{CellKind, Delete};
use crate::raw::{RawCell, RawDelete, RawRow};
use crate::read::Deletes;
use common::ids::{FamilyId, Seq};
use common::schema::{GcRule, Table};
use common::time::Micros;
use std::sync::Arc;
use std::time::Duration;

/// Clocks of servers may differ and a read keeps its `now`: removal by age is this late.
pub(crate) const AGE_SLACK: Duration = Duration::from_secs(600);

/// The lowest seq that SSTables or memtables outside the merge may have for a row key; `Seq::MAX`: they have none.
pub(crate) type Below = Arc<dyn Fn(&[u8]) -> Seq + Send + Sync>;

/// Whether SSTables or memtables outside the merge may have a seq for a row key from one to another, both included.
pub(crate) type Between = Arc<dyn Fn(&[u8], Seq, Seq) -> bool + Send + Sync>;

/// The rule of one compaction.
#[derive(Clone)]
pub(crate) struct Retention {
    gc: Vec<Family>,
    /// Ages are as of this.
    now: Micros,
    points: Points,
    below: Below,
    between: Between,
    /// The lowest seq outside the merge wherever it has rows.
    lowest: Seq,
}

#[derive(Clone, Debug)]
struct Family {
    id: FamilyId,
    rule: GcRule,
    /// More newer versions than this make no difference to the rule.
    most: usize,
}

impl std::fmt::Debug for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retention").field("gc", &self.gc).field("now", &self.now).field("points", &self.points).finish_non_exhaustive()
    }
}

impl Retention {
    /// Keeps what `points` can tell apart; `now` is the lower of the server's and the master's time.
    pub(crate) fn new(table: &Table, now: Micros, points: Points, below: Below, between: Between) -> Self {
        let family = |id, rule: &GcRule| Family { id, rule: rule.clone(), most: most_versions(rule) };
        let gc = table.families.iter().map(|f| family(f.id, &f.gc)).collect();
        Self { gc, now: now.before(AGE_SLACK), points, below, between, lowest: Seq::ZERO }
    }

    /// Nothing outside the merge, wherever that has rows or row-range deletes, is numbered below `lowest`. Without it
    /// row-range deletes stay for ever.
    pub(crate) fn with_lowest(self, lowest: Seq) -> Self {
        Self { lowest, ..self }
    }

    /// Whether a row-range delete that hides no cell that was kept has done its work.
    pub(super) fn is_done(&self, seq: Seq) -> bool {
        seq <= self.points.floor() && seq < self.lowest
    }

    /// Whether some reader can tell `from` from `to`.
    pub(super) fn separates(&self, from: Seq, to: Seq) -> bool {
        self.points.separate(from, to)
    }

    /// What stays of a row.
    pub(crate) fn apply(&self, mut row: RawRow) -> RawRow {
        let below = (self.below)(&row.key);
        let cells = std::mem::take(&mut row.cells);
        // Newer than the floor: someone may read between it and whatever replaces it.
        let mut keep: Vec<bool> = cells.iter().map(|c| c.seq > self.points.floor()).collect();
        if let Some(lowest) = cells.iter().map(|c| c.seq).min().filter(|lowest| *lowest <= self.points.floor()) {
            for point in self.points.all().filter(|p| *p >= lowest) {
                self.mark(&cells, &Deletes::of(&row.deletes, &row.covers, point), (point, below), &mut keep);
            }
        }
        let kept: Vec<_> = cells.into_iter().zip(keep).filter_map(|(cell, keep)| keep.then_some(cell)).collect();
        let kept = join_parts(kept, &self.points, below, |from, to| (self.between)(&row.key, from, to));
        let deletes = self.deletes(std::mem::take(&mut row.deletes), &kept, below);
        RawRow { cells: kept, deletes, ..row }
    }

    /// Marks the cells that are visible at `point`.
    fn mark(&self, cells: &[RawCell], deletes: &Deletes<'_>, (point, below): (Seq, Seq), keep: &mut [bool]) {
        let mut walk = Walk { last: None, replaced: false, open: None, family: None, newer: 0, seqs: Vec::new(), below };
        for (cell, keep) in cells.iter().zip(keep).filter(|(c, _)| c.seq <= point) {
            if let Some(newer) = walk.live(self, cell, deletes)
                && !*keep
            {
                *keep = match walk.family {
                    Some(family) => !family.rule.condemns(newer, self.now.0.saturating_sub(cell.timestamp.0)),
                    // A dropped family; a family that is newer than what we know of the table stays.
                    None => self.gc.iter().all(|f| f.id < cell.family),
                };
            }
        }
    }

    /// Of equal deletes that no point separates the highest decides; one that hides nothing any more has done its work.
    fn deletes(&self, mut deletes: Vec<RawDelete>, cells: &[RawCell], below: Seq) -> Vec<RawDelete> {
        deletes.sort_by(|a, b| (&a.what, b.seq).cmp(&(&b.what, a.seq)));
        let mut kept: Vec<RawDelete> = Vec::with_capacity(deletes.len());
        let mut last: Option<RawDelete> = None;
        for delete in deletes {
            let shadowed = last.as_ref().is_some_and(|l| l.what == delete.what && !self.points.separate(delete.seq, l.seq));
            let done = delete.seq <= self.points.floor() && delete.seq < below && !hides(&delete, cells);
            last = Some(delete.clone());
            if !shadowed && !done {
                kept.push(delete);
            }
        }
        kept
    }
}

/// The highest number of versions that a rule speaks of.
fn most_versions(rule: &GcRule) -> usize {
    match rule {
        GcRule::KeepAll | GcRule::MaxAgeSeconds(_) => 0,
        GcRule::MaxVersions(n) => *n as usize,
        GcRule::Union(rules) | GcRule::Intersection(rules) => rules.iter().map(most_versions).max().unwrap_or(0),
    }
}

/// Whether a delete hides one of these cells, which are in order.
fn hides(delete: &RawDelete, cells: &[RawCell]) -> bool {
    let place = |c: &RawCell| match &delete.what {
        Delete::Row => std::cmp::Ordering::Equal,
        Delete::Family(family) => c.family.cmp(family),
        Delete::Column { family, qualifier, .. } => c.family.cmp(family).then_with(|| c.qualifier.cmp(qualifier)),
    };
    let from = cells.partition_point(|c| place(c).is_lt());
    let inside = cells[from..].iter().take_while(|c| place(c).is_eq());
    inside.into_iter().any(|c| c.seq < delete.seq && delete.what.covers(c.family, &c.qualifier, c.timestamp))
}

/// Counts live versions of a column up to a point.
struct Walk<'a> {
    last: Option<&'a RawCell>,
    /// A plain value of the same timestamp lies before.
    replaced: bool,
    /// The highest seq of the version that is walked, if some of it is live.
    open: Option<Seq>,
    /// The column's family, as far as it is known.
    family: Option<&'a Family>,
    newer: u64,
    /// The highest seqs among them, rising; as many as the family's rule can ask for.
    seqs: Vec<Seq>,
    below: Seq,
}

impl<'a> Walk<'a> {
    /// How many live versions certainly lie before this one; `None` if it is hidden or replaced.
    fn live(&mut self, rule: &'a Retention, cell: &'a RawCell, deletes: &Deletes<'_>) -> Option<u64> {
        let column = self.last.is_some_and(|last| last.same_column(cell));
        if !column {
            (self.newer, self.open) = (0, None);
            self.seqs.clear();
            self.family = rule.gc.iter().find(|f| f.id == cell.family);
        }
        let same = column && self.last.is_some_and(|last| last.timestamp == cell.timestamp);
        self.replaced = same && (self.replaced || self.last.is_some_and(|last| last.kind == CellKind::Value));
        self.last = Some(cell);
        if self.replaced || deletes.hide(cell) {
            return None;
        }
        if !same {
            self.close();
        }
        let above = self.seqs.partition_point(|s| *s < cell.seq);
        let newer = if cell.seq < self.below { self.newer } else { (self.seqs.len() - above) as u64 };
        // What an aggregate is combined with belongs to the same version, which counts once.
        self.open = self.open.max(Some(cell.seq));
        Some(newer)
    }

    /// The version walked last now lies before those that follow.
    fn close(&mut self) {
        let Some(seq) = self.open.take() else { return };
        self.newer += 1;
        self.seqs.insert(self.seqs.partition_point(|s| *s < seq), seq);
        if self.seqs.len() > self.family.map_or(0, |f| f.most) {
            self.seqs.remove(0);
        }
    }
}

#[cfg(test)]
mod tests;
