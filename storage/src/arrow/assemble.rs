//! Batches out of pieces: runs of blocks' rows, and rows that were judged cell by cell.

use super::block::{BlockState, ReadWide};
use super::builder::BatchBuilder;
use super::page::{Rows, internal};
use super::projection::Projection;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::bit_iterator::BitSliceIterator;
use arrow_select::concat::concat;
use arrow_select::interleave::interleave;
use common::row::Row;
use common::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Bytes at which a batch is closed before it has all its rows, so that wide rows do not pile up.
const BATCH_BYTES: usize = 4 << 20;

/// Of a batch of so many rows, what one run brings if it may go out alone, uncopied.
const ALONE: usize = 8;

/// The rows of a batch in order, by where they come from.
pub(super) struct Assembly<W> {
    projection: Arc<Projection>,
    batch_rows: usize,
    ordered: bool,
    reverse: bool,
    parts: Vec<Part<W>>,
    built: BatchBuilder,
    /// Where the next rows come from and how many, in the output's order.
    order: Vec<(Origin, usize)>,
    rows: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Built,
    Part(usize),
}

/// Some rows of one block.
struct Part<W> {
    state: Arc<BlockState>,
    wide: W,
    /// In the order of the output.
    runs: Vec<Range<usize>>,
}

impl<W: ReadWide + Clone> Assembly<W> {
    pub(super) fn new(projection: Arc<Projection>, batch_rows: usize, ordered: bool, reverse: bool) -> Self {
        let built = BatchBuilder::new(projection.clone());
        Self { projection, batch_rows, ordered, reverse, parts: Vec::new(), built, order: Vec::new(), rows: 0 }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that it still takes.
    pub(super) fn room(&self) -> usize {
        if self.built.bytes() >= BATCH_BYTES { 0 } else { self.batch_rows - self.rows }
    }

    /// Whether what it holds should go out as it is, before more is added: one block's rows that need not be copied.
    pub(super) fn is_large_piece(&self) -> bool {
        let uncopied = self.order.len() == 1 && self.parts.first().is_some_and(|p| p.runs.len() == 1) && !self.reverse;
        uncopied && self.rows >= self.batch_rows.div_ceil(ALONE)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// As [`BatchBuilder::push`].
    pub(super) fn push_row(&mut self, row: &Row) -> Result<()> {
        self.built.push(row)?;
        self.note(Origin::Built, 1);
        Ok(())
    }

    /// Adds those rows of a run of clean rows that pass, as far as there is room and `limit` allows; gives the rows of
    /// the run that it has not come to.
    pub(super) fn push_run(&mut self, state: &Arc<BlockState>, wide: &W, run: Range<usize>, limit: usize) -> Range<usize> {
        let room = self.room().min(limit);
        let Some(passing) = &state.passing else {
            let taken = run.len().min(room);
            let (now, later) = self.split(run, taken);
            self.take(state, wide, now);
            return later;
        };
        if self.reverse {
            return self.push_backward(state, wide, run, room);
        }
        let mut room = room;
        for (from, to) in BitSliceIterator::new(passing.values(), passing.offset() + run.start, run.len()) {
            let (from, to) = (run.start + from, run.start + to);
            let taken = (to - from).min(room);
            self.take(state, wide, from..from + taken);
            room -= taken;
            if room == 0 {
                return from + taken..run.end;
            }
        }
        run.end..run.end
    }

    fn push_backward(&mut self, state: &Arc<BlockState>, wide: &W, run: Range<usize>, mut room: usize) -> Range<usize> {
        let Some(passing) = &state.passing else { return run };
        for row in run.clone().rev() {
            if room == 0 {
                return run.start..row + 1;
            }
            if passing.value(row) {
                self.take(state, wide, row..row + 1);
                room -= 1;
            }
        }
        run.start..run.start
    }

    /// The first rows of a run in the scan's direction, and the rest.
    fn split(&self, run: Range<usize>, taken: usize) -> (Range<usize>, Range<usize>) {
        if self.reverse {
            (run.end - taken..run.end, run.start..run.end - taken)
        } else {
            (run.start..run.start + taken, run.start + taken..run.end)
        }
    }

    fn take(&mut self, state: &Arc<BlockState>, wide: &W, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        let part = self.part(state, wide);
        self.note(Origin::Part(part), rows.len());
        let runs = &mut self.parts[part].runs;
        match runs.last_mut() {
            Some(last) if last.end == rows.start && !self.reverse => last.end = rows.end,
            Some(last) if last.start == rows.end && self.reverse => last.start = rows.start,
            _ => runs.push(rows),
        }
    }

    /// The block's place among the parts: likely the last.
    fn part(&mut self, state: &Arc<BlockState>, wide: &W) -> usize {
        self.parts.iter().rposition(|p| Arc::ptr_eq(&p.state, state)).unwrap_or_else(|| {
            self.parts.push(Part { state: state.clone(), wide: wide.clone(), runs: Vec::new() });
            self.parts.len() - 1
        })
    }

    fn note(&mut self, origin: Origin, rows: usize) {
        self.rows += rows;
        match self.order.last_mut() {
            Some((last, count)) if *last == origin => *count += rows,
            _ => self.order.push((origin, rows)),
        }
    }

    /// The rows added so far as one batch; `None` if there are none.
    ///
    /// # Errors
    /// As [`BlockState::arrays`].
    pub(super) async fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let (parts, order, rows) = (std::mem::take(&mut self.parts), std::mem::take(&mut self.order), std::mem::take(&mut self.rows));
        if parts.is_empty() {
            return self.built.finish().map(Some);
        }
        let mut pieces = Vec::with_capacity(parts.len() + 1);
        for part in &parts {
            pieces.push(part.state.arrays(&chosen(&part.runs, self.reverse), &part.wide).await?);
        }
        if self.built.rows() > 0 {
            pieces.push(self.built.finish()?.columns().to_vec());
        }
        let columns = match (pieces.len(), self.ordered) {
            (1, _) => pieces.swap_remove(0),
            (_, true) => in_order(&pieces, &order)?,
            (count, false) => join(&pieces, &(0..count).collect::<Vec<_>>())?,
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.projection.schema().clone(), columns, &options)
            .map(Some)
            .map_err(|e| Error::internal(format!("batch of table '{}': {e}", self.projection.table().name)))
    }
}

/// A part's rows in the order of the output.
fn chosen(runs: &[Range<usize>], reverse: bool) -> Rows {
    match runs {
        [one] if !reverse => Rows::Range(one.clone()),
        _ if reverse => Rows::List(runs.iter().flat_map(|run| run.clone().rev()).map(|row| row as u32).collect::<Vec<_>>().into()),
        _ => Rows::List(runs.iter().flat_map(Clone::clone).map(|row| row as u32).collect::<Vec<_>>().into()),
    }
}

/// The pieces' columns joined so that rows lie in order. The built rows are the last piece.
fn in_order(pieces: &[Vec<ArrayRef>], order: &[(Origin, usize)]) -> Result<Vec<ArrayRef>> {
    let piece = |origin: Origin| match origin {
        Origin::Built => pieces.len() - 1,
        Origin::Part(at) => at,
    };
    if order.len() == pieces.len() {
        return join(pieces, &order.iter().map(|(origin, _)| piece(*origin)).collect::<Vec<_>>());
    }
    let mut next = vec![0; pieces.len()];
    let mut places = Vec::with_capacity(order.iter().map(|(_, count)| count).sum());
    for (origin, count) in order {
        let piece = piece(*origin);
        places.extend((next[piece]..next[piece] + count).map(|row| (piece, row)));
        next[piece] += count;
    }
    columns(pieces, |arrays| interleave(arrays, &places))
}

/// The pieces' columns one behind the other.
fn join(pieces: &[Vec<ArrayRef>], order: &[usize]) -> Result<Vec<ArrayRef>> {
    columns(pieces, |arrays| concat(&order.iter().map(|at| arrays[*at]).collect::<Vec<_>>()))
}

fn columns(
    pieces: &[Vec<ArrayRef>],
    make: impl Fn(&[&dyn arrow_array::Array]) -> Result<ArrayRef, arrow_schema::ArrowError>,
) -> Result<Vec<ArrayRef>> {
    let width = pieces.first().map_or(0, Vec::len);
    let column = |at: usize| make(&pieces.iter().map(|piece| piece[at].as_ref()).collect::<Vec<_>>()).map_err(|e| internal(&e));
    (0..width).map(column).collect()
}
