//! What of a row a compaction keeps: all that a reader at the horizon or above can tell apart.

use crate::raw::{RawCell, RawDelete, RawRow};
use crate::read::Deletes;
use common::ids::{FamilyId, Seq};
use common::schema::{GcRule, Table};
use common::time::Micros;
use std::time::Duration;

/// Clocks of servers may differ and a read keeps its `now`: removal by age is this late.
const AGE_SLACK: Duration = Duration::from_secs(600);

/// The rule of one compaction.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    gc: Vec<(FamilyId, GcRule)>,
    /// Ages are as of this.
    now: Micros,
    /// Nobody reads below.
    horizon: Seq,
    /// Nothing older lies below the merged SSTables.
    bottom: bool,
}

impl Retention {
    pub(crate) fn new(table: &Table, now: Micros, horizon: Seq, bottom: bool) -> Self {
        let gc = table.families.iter().map(|f| (f.id, f.gc.clone())).collect();
        Self { gc, now: now.before(AGE_SLACK), horizon, bottom }
    }

    /// What stays of a row.
    pub(crate) fn apply(&self, mut row: RawRow) -> RawRow {
        let deletes = Deletes::new(&row.deletes, self.horizon);
        let mut walk = Walk::default();
        let mut kept = Vec::with_capacity(row.cells.len());
        for cell in std::mem::take(&mut row.cells) {
            // Newer than the horizon: someone may read between it and whatever replaces it.
            let keep = cell.seq > self.horizon || self.keeps(&mut walk, &cell, &deletes);
            if keep {
                kept.push(cell);
            }
        }
        RawRow { key: row.key, cells: kept, deletes: self.deletes(row.deletes) }
    }

    fn keeps(&self, walk: &mut Walk, cell: &RawCell, deletes: &Deletes<'_>) -> bool {
        let Some(newer) = walk.live(cell, deletes) else { return false };
        let Some((_, rule)) = self.gc.iter().find(|(f, _)| *f == cell.family) else {
            // A dropped family; a family that is newer than what we know of the table stays.
            return self.gc.iter().all(|(f, _)| *f < cell.family);
        };
        !rule.condemns(newer, self.now.0.saturating_sub(cell.timestamp.0))
    }

    /// Of equal deletes up to the horizon the highest decides; at the bottom they have done their work.
    fn deletes(&self, mut deletes: Vec<RawDelete>) -> Vec<RawDelete> {
        deletes.sort_by(|a, b| (&a.what, b.seq).cmp(&(&b.what, a.seq)));
        let mut kept: Vec<RawDelete> = Vec::with_capacity(deletes.len());
        for delete in deletes {
            let old = delete.seq <= self.horizon;
            let shadowed = kept.last().is_some_and(|k| k.what == delete.what && k.seq <= self.horizon);
            if !(old && (self.bottom || shadowed)) {
                kept.push(delete);
            }
        }
        kept
    }
}

/// Counts live versions of a column up to the horizon.
#[derive(Default)]
struct Walk {
    last: Option<RawCell>,
    newer: u64,
}

impl Walk {
    /// How many live versions lie before this one; `None` if it is hidden or replaced.
    fn live(&mut self, cell: &RawCell, deletes: &Deletes<'_>) -> Option<u64> {
        let column = self.last.as_ref().is_some_and(|last| last.same_column(cell));
        if !column {
            self.newer = 0;
        }
        let replaced = column && self.last.as_ref().is_some_and(|last| last.timestamp == cell.timestamp);
        self.last = Some(cell.clone());
        if replaced || deletes.hide(cell) {
            return None;
        }
        self.newer += 1;
        Some(self.newer - 1)
    }
}
