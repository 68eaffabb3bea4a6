//! Joining the parts of aggregates, as far as no reader can tell.
//!
//! Two parts of a cell become one with the seq of the higher where no point lies between them, so that every reader sees
//! both or none, and nothing outside the merge is numbered between them: a delete there would hide the lower part alone, a
//! value would replace it. The parts are those that stay anyway: what deletes in the merge hide is gone before.

use super::points::Points;
use crate::format::{CellKind, integer, joined};
use crate::raw::RawCell;
use common::ids::Seq;

/// Joins what can be joined of a row's cells, which are in order. `between`: whether something of the row outside the merge
/// may be numbered from the first to the second seq, both included. `below`: the lowest seq outside.
pub(super) fn join_parts(cells: Vec<RawCell>, points: &Points, below: Seq, between: impl Fn(Seq, Seq) -> bool) -> Vec<RawCell> {
    if cells.iter().all(|c| c.kind == CellKind::Value) {
        return cells;
    }
    let mut out: Vec<RawCell> = Vec::with_capacity(cells.len());
    // From the lowest part of each cell up: what a value ends becomes a value, and so on above it.
    for mut cell in cells.into_iter().rev() {
        let lower = out.last_mut().filter(|l| l.same_column(&cell) && l.timestamp == cell.timestamp);
        match lower {
            // It came twice.
            Some(lower) if lower.seq == cell.seq => continue,
            Some(lower) if !points.separate(lower.seq, cell.seq) && !between(lower.seq, cell.seq) => {
                if let Some((kind, value)) = joined((cell.kind, &cell.value), (lower.kind, &lower.value)) {
                    *lower = RawCell { kind, value, ..cell };
                    continue;
                }
            }
            Some(_) => {}
            // Nothing lies below it anywhere: then it is what it adds.
            None if cell.seq < below && cell.seq <= points.floor() && integer(&cell.value).is_some() => cell.kind = CellKind::Value,
            None => {}
        }
        out.push(cell);
    }
    out.reverse();
    out
}
