//! Batches out of pieces: runs of blocks' rows, and rows that were judged cell by cell.

use super::block::{BlockState, ReadWide};
use super::builder::BatchBuilder;
use super::gather::{Piece, gather};
use super::page::{Column, Rows, internal};
use super::projection::Projection;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_buffer::bit_iterator::BitSliceIterator;
use arrow_select::take::take;
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
    /// The rows that were judged cell by cell; `None`: there were none yet.
    built: Option<BatchBuilder>,
    /// Where the next rows come from, in the output's order: rows of a part's block, or rows built.
    order: Vec<(Origin, Range<usize>)>,
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
        Self { projection, batch_rows, ordered, reverse, parts: Vec::new(), built: None, order: Vec::new(), rows: 0 }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that it still takes.
    pub(super) fn room(&self) -> usize {
        if self.built.as_ref().is_some_and(|built| built.bytes() >= BATCH_BYTES) { 0 } else { self.batch_rows - self.rows }
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
        let built = self.built.get_or_insert_with(|| BatchBuilder::new(self.projection.clone()));
        let at = built.rows();
        built.push(row)?;
        self.note(Origin::Built, at..at + 1);
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
        extend(&mut self.parts[part].runs, rows.clone(), self.reverse);
        self.note(Origin::Part(part), rows);
    }

    /// The block's place among the parts: likely the last.
    fn part(&mut self, state: &Arc<BlockState>, wide: &W) -> usize {
        self.parts.iter().rposition(|p| Arc::ptr_eq(&p.state, state)).unwrap_or_else(|| {
            self.parts.push(Part { state: state.clone(), wide: wide.clone(), runs: Vec::new() });
            self.parts.len() - 1
        })
    }

    fn note(&mut self, origin: Origin, rows: Range<usize>) {
        self.rows += rows.len();
        let backward = self.reverse && origin != Origin::Built;
        let last = self.order.last_mut().filter(|(last, _)| *last == origin);
        if !last.is_some_and(|(_, before)| join(before, &rows, backward)) {
            self.order.push((origin, rows));
        }
    }

    /// The rows added so far as one batch; `None` if there are none.
    ///
    /// # Errors
    /// `Corrupt`, naming table, column and key, for a value that is not one of its column's type; those of reading pages.
    pub(super) async fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let (mut parts, mut order, rows) =
            (std::mem::take(&mut self.parts), std::mem::take(&mut self.order), std::mem::take(&mut self.rows));
        let built = self.built.as_mut().filter(|built| built.rows() > 0).map(BatchBuilder::finish).transpose()?;
        if parts.is_empty() {
            return Ok(built);
        }
        if self.reverse {
            parts.iter_mut().for_each(|part| part.runs.reverse());
            order = forward(order);
        } else if !self.ordered {
            order = by_part(&parts, built.as_ref().map_or(0, RecordBatch::num_rows));
        }
        let mut pieces = Pieces { packed: Vec::with_capacity(parts.len()), built: Vec::new() };
        for part in &parts {
            part.state.prepare(&part.runs, &part.wide).await?;
            pieces.packed.push(part.state.packed(&chosen(&part.runs), &part.wide).await?);
        }
        if let Some(built) = built {
            pieces.built = built.columns().iter().cloned().map(Column::plain).collect();
        }
        let mut columns = pieces.columns(&self.projection, &parts, &order, rows)?;
        if self.reverse {
            let backward: UInt32Array = (0..rows as u32).rev().collect::<Vec<_>>().into();
            columns = columns.iter().map(|column| take(column, &backward, None)).collect::<Result<_, _>>().map_err(|e| internal(&e))?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.projection.schema().clone(), columns, &options)
            .map(Some)
            .map_err(|e| Error::internal(format!("batch of table '{}': {e}", self.projection.table().name)))
    }
}

/// Makes `rows` a part of the run before, if they lie next to it.
fn join(before: &mut Range<usize>, rows: &Range<usize>, reverse: bool) -> bool {
    if !reverse && before.end == rows.start {
        before.end = rows.end;
    } else if reverse && before.start == rows.end {
        before.start = rows.start;
    } else {
        return false;
    }
    true
}

fn extend(runs: &mut Vec<Range<usize>>, rows: Range<usize>, reverse: bool) {
    if !runs.last_mut().is_some_and(|last| join(last, &rows, reverse)) {
        runs.push(rows);
    }
}

/// The order of a backward scan from its end.
fn forward(order: Vec<(Origin, Range<usize>)>) -> Vec<(Origin, Range<usize>)> {
    let mut out = Vec::with_capacity(order.len());
    for (origin, rows) in order.into_iter().rev() {
        match origin {
            // They were built backward.
            Origin::Built => out.extend(rows.rev().map(|row| (origin, row..row + 1))),
            Origin::Part(_) => out.push((origin, rows)),
        }
    }
    out
}

/// The rows as they lie in their blocks.
fn by_part<W>(parts: &[Part<W>], built: usize) -> Vec<(Origin, Range<usize>)> {
    let of_part =
        |(at, part): (usize, &Part<W>)| part.runs.clone().into_iter().map(move |rows| (Origin::Part(at), rows)).collect::<Vec<_>>();
    let mut out: Vec<_> = parts.iter().enumerate().flat_map(of_part).collect();
    if built > 0 {
        out.push((Origin::Built, 0..built));
    }
    out
}

/// A part's rows in rising order.
fn chosen(runs: &[Range<usize>]) -> Rows {
    match runs {
        [one] => Rows::Range(one.clone()),
        _ => Rows::List(runs.iter().flat_map(Clone::clone).map(|row| row as u32).collect::<Vec<_>>().into()),
    }
}

/// What a batch is put together from, beside the columns of its parts' blocks.
struct Pieces {
    /// By part, with places in the output: what holds its chosen rows only.
    packed: Vec<Vec<(usize, Column)>>,
    /// By place in the output: the rows built.
    built: Vec<Column>,
}

impl Pieces {
    fn columns<W>(
        &self,
        projection: &Projection,
        parts: &[Part<W>],
        order: &[(Origin, Range<usize>)],
        rows: usize,
    ) -> Result<Vec<ArrayRef>> {
        let (mut out, mut pieces) = (Vec::with_capacity(projection.schema().fields().len()), Vec::new());
        for (at, field) in projection.schema().fields().iter().enumerate() {
            pieces.clear();
            // Of each part's packed rows, how many came before.
            let mut taken = vec![0; parts.len()];
            for (origin, rows) in order {
                match origin {
                    Origin::Built => pieces.push(Piece { column: &self.built[at], rows: rows.clone() }),
                    Origin::Part(part) => match self.packed[*part].iter().find(|(place, _)| *place == at) {
                        Some((_, column)) => {
                            let from = taken[*part];
                            taken[*part] += rows.len();
                            pieces.push(Piece { column, rows: from..from + rows.len() });
                        }
                        None => parts[*part].state.pieces(at, rows.clone(), &mut pieces)?,
                    },
                }
            }
            out.push(gather(field.data_type(), &pieces, rows)?);
        }
        Ok(out)
    }
}
