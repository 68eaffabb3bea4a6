//! Splits of tablets that are large or hot, merges of neighbours that are small and cold.

use super::assignment::candidates;
use super::{Memory, Now, Wanted};
use crate::entry::WHY_LOAD;
use crate::state::{ClusterState, Tablet};
use common::config::MasterConfig;
use common::ids::{TableId, TabletId};
use common::rpc::master::{Procedure, TabletReport};
use std::collections::BTreeMap;
use std::time::Duration;

/// A tablet that was made lately is left alone: its load and size are not known yet.
const YOUNG: Duration = Duration::from_secs(30);
/// Neighbours are merged only if nobody has split or moved them for this long.
const COLD: Duration = Duration::from_secs(600);
/// A tablet whose split failed is not split again before this.
const AGAIN: Duration = Duration::from_secs(300);
/// Together a merged tablet has at most this part of the bytes that would split it.
const MERGED_PART: u64 = 4;
/// Few tablets split early: a table's first tablet at this many bytes, the n-th at n² times that.
const FIRST_SPLIT_BYTES: u64 = 256 << 20;

/// Tablets above the bounds.
pub(super) fn splits(state: &ClusterState, memory: &Memory, policy: &MasterConfig, now: Now) -> Vec<Wanted> {
    let counts: BTreeMap<TableId, u64> = memory.index.table_sizes().collect();
    // Halves of a hot tablet help only where they can lie apart.
    let apart = candidates(state, memory).len() > 1;
    let mut out = Vec::new();
    for (id, tablet) in state.tablets.iter().filter(|(_, t)| is_settled(t, now, YOUNG)) {
        let Some(report) = memory.report_on(*id, tablet).filter(|_| !failed_lately(state, *id, now)) else { continue };
        let large = report.bytes > split_bytes(counts.get(&tablet.table).copied().unwrap_or(1), policy);
        let hot = apart && report.load.rows() > policy.split_rows_per_second;
        if large || hot {
            out.push((Procedure::Split { tablet: *id, at: None }, if hot { WHY_LOAD } else { "size" }));
        }
    }
    out
}

/// What splits a tablet of a table with `tablets` of them.
fn split_bytes(tablets: u64, policy: &MasterConfig) -> u64 {
    FIRST_SPLIT_BYTES.saturating_mul(tablets.saturating_mul(tablets)).min(policy.split_bytes)
}

fn is_settled(tablet: &Tablet, now: Now, since: Duration) -> bool {
    tablet.open && tablet.procedure.is_none() && now.wall > tablet.assigned_at.after(since)
}

fn failed_lately(state: &ClusterState, tablet: TabletId, now: Now) -> bool {
    let failed = state.past.iter().filter(|p| p.error.is_some() && now.wall < p.ended_at.after(AGAIN));
    failed.flat_map(|p| p.was.tablets()).any(|t| t == tablet)
}

/// Neighbours that are small together and see no load; each tablet in one pair at most. A table keeps as many tablets as
/// it was created with: whoever cut it knew why.
pub(super) fn merges(state: &ClusterState, memory: &Memory, policy: &MasterConfig, now: Now) -> Vec<Wanted> {
    let created_with = |table: TableId| state.tables.get(&table).map_or(0, |t| t.spec.split_at.len() as u64 + 1);
    let sizes = memory.index.table_sizes().map(|(table, count)| (table, count.saturating_sub(created_with(table))));
    let mut spare: BTreeMap<TableId, u64> = sizes.filter(|(_, spare)| *spare > 0).collect();
    let of_tables = spare.keys().flat_map(|table| memory.index.of_table(*table));
    let mut by_key: Vec<_> = of_tables.map(|(id, t)| (t.table, &t.range.start, id, t)).collect();
    by_key.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let mut out: Vec<Wanted> = Vec::new();
    let mut at = 0;
    while at + 1 < by_key.len() {
        let ((table, _, lower, a), (other, _, upper, b)) = (by_key[at], by_key[at + 1]);
        let spare = spare.entry(table).or_default();
        let small = small_and_cold(memory, (lower, a), (upper, b), policy.split_bytes / MERGED_PART);
        let rest =
            is_settled(a, now, COLD) && is_settled(b, now, COLD) && !failed_lately(state, lower, now) && !failed_lately(state, upper, now);
        if table == other && *spare > 0 && rest && small {
            *spare -= 1;
            out.push((Procedure::Merge { tablets: [lower, upper] }, "cold"));
            at += 1;
        }
        at += 1;
    }
    out
}

fn small_and_cold(memory: &Memory, a: (TabletId, &Tablet), b: (TabletId, &Tablet), most: u64) -> bool {
    let cold = |t: &TabletReport| t.load.rows() == 0;
    match (memory.report_on(a.0, a.1), memory.report_on(b.0, b.1)) {
        (Some(a), Some(b)) => cold(a) && cold(b) && a.bytes + b.bytes < most.min(FIRST_SPLIT_BYTES / MERGED_PART),
        _ => false,
    }
}
