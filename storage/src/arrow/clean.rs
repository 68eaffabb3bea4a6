//! Which rows of a block have to be judged cell by cell, because what they show is not simply what their pages hold.

use super::needs::Binding;
use crate::format::CellKind;
use crate::sstable::{Bounds, ColumnPage, ColumnarBlock, Overflow, OverflowCell, OverflowColumn};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use common::Result;
use common::ids::Seq;
use common::row::Columns;
use common::time::{Micros, TimeRange};
use std::sync::Arc;

/// Which versions a scan shows, deletes apart.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) at: Seq,
    pub(super) timestamps: TimeRange,
    /// The columns whose cells are looked at.
    pub(super) wanted: Columns,
}

impl Window {
    /// Whether every cell within the bounds is shown if it is the newest of its column.
    fn shows_all(&self, bounds: &Bounds, fresh_from: Micros) -> bool {
        let (oldest, newest) = bounds.timestamps;
        bounds.seqs.1 <= self.at && oldest >= fresh_from && self.timestamps.contains(oldest) && self.timestamps.contains(newest)
    }

    fn shows(&self, timestamp: i64, seq: u64, fresh_from: Micros) -> bool {
        seq <= self.at.0 && timestamp >= fresh_from.0 && self.timestamps.contains(Micros(timestamp))
    }
}

/// The rows that have to be judged cell by cell; `None`: no row has.
///
/// # Errors
/// `Corrupt`.
pub(super) fn unclean(block: &ColumnarBlock, binding: &Binding, window: &Window, bounds: &Bounds) -> Result<Option<BooleanBuffer>> {
    let rows = block.rows();
    if !binding.known {
        return Ok(Some(BooleanBuffer::new_set(rows)));
    }
    let plain = window.shows_all(bounds, binding.fresh_from);
    let mut out = if plain { None } else { Some(by_version(block, binding, window)?) };
    if let Some(overflow) = block.overflow()? {
        let mut judge = OverflowJudge { block, overflow, window, binding, standings: Vec::new() };
        for (i, row) in overflow.rows.iter().enumerate().filter(|(_, row)| (**row as usize) < rows) {
            if !plain || !judge.adds_only(*row as usize, overflow.at(i))? {
                out.get_or_insert_with(|| unset(rows)).set_bit(*row as usize, true);
            }
        }
    }
    Ok(out.map(|mut flags| flags.finish()))
}

fn unset(rows: usize) -> BooleanBufferBuilder {
    let mut out = BooleanBufferBuilder::new(rows);
    out.append_n(rows, false);
    out
}

/// The rows with cells that are not shown, though they are the newest here.
fn by_version(block: &ColumnarBlock, binding: &Binding, window: &Window) -> Result<BooleanBufferBuilder> {
    let versions = block.versions()?;
    let hidden = BooleanBuffer::collect_bool(block.rows(), |row| {
        let (timestamp, seq) = versions.of(row);
        !window.shows(timestamp, seq, binding.fresh_from)
    });
    let mut out = BooleanBufferBuilder::new(block.rows());
    out.append_buffer(&hidden);
    for slot in block.columns() {
        if !slot.info.exceptions || !binding.wanted.get(slot.info.place as usize).is_some_and(|wanted| *wanted) {
            continue;
        }
        let Some(page) = block.page(slot)? else {
            // A wide column's exceptions lie apart, with its values.
            let mut all = BooleanBufferBuilder::new(block.rows());
            all.append_n(block.rows(), true);
            return Ok(all);
        };
        let exceptions = &page.exceptions;
        for ((row, timestamp), seq) in exceptions.rows.iter().zip(&exceptions.timestamps).zip(&exceptions.seqs) {
            if !window.shows(*timestamp, *seq, binding.fresh_from) && (*row as usize) < block.rows() {
                out.set_bit(*row as usize, true);
            }
        }
    }
    Ok(out)
}

/// What a block's pages have of a column with cells in the overflow.
enum Standing {
    /// Nobody looks at it.
    Unwanted,
    /// Nothing: the overflow has all of it.
    Nothing,
    /// Some of it.
    Page(Arc<ColumnPage>),
    /// Some of it, apart from the block.
    Wide,
}

/// Looks at a block's overflow.
struct OverflowJudge<'b> {
    block: &'b ColumnarBlock,
    overflow: &'b Overflow,
    window: &'b Window,
    binding: &'b Binding,
    /// By place in the dictionary.
    standings: Vec<Option<Standing>>,
}

impl OverflowJudge<'_> {
    /// Whether a row's overflow changes nothing of what its pages say, or only adds what they do not have.
    fn adds_only(&mut self, row: usize, cells: &[OverflowCell]) -> Result<bool> {
        for cell in cells {
            let plain = cell.kind == CellKind::Value;
            let fits = match cell.column {
                OverflowColumn::Named(at) => {
                    self.overflow.names.get(at as usize).is_some_and(|(family, name)| !self.window.wanted.wants(*family, name))
                }
                OverflowColumn::Listed(place) => {
                    let block = self.block;
                    match self.standing(place)? {
                        Standing::Unwanted => true,
                        Standing::Nothing => plain,
                        Standing::Wide => false,
                        // An older version decides nothing where the newer one is shown.
                        Standing::Page(page) => plain && is_older(block, page, row, cell)?,
                    }
                }
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn standing(&mut self, place: u32) -> Result<&Standing> {
        let at = place as usize;
        if self.standings.len() <= at {
            self.standings.resize_with(at + 1, || None);
        }
        let found = match self.standings[at].take() {
            Some(known) => known,
            None if self.binding.wanted.get(at).is_some_and(|wanted| !*wanted) => Standing::Unwanted,
            None if !self.block.wide(place).is_empty() => Standing::Wide,
            None => self.block.column(place)?.map_or(Standing::Nothing, Standing::Page),
        };
        Ok(self.standings[at].insert(found))
    }
}

/// Whether a row's cell in a page is newer than this one of its overflow.
fn is_older(block: &ColumnarBlock, page: &ColumnPage, row: usize, cell: &OverflowCell) -> Result<bool> {
    let here = match page.exception(row) {
        Some(here) => here,
        None => block.versions()?.of(row),
    };
    Ok(page.is_present(row) && here > (cell.timestamp, cell.seq))
}
