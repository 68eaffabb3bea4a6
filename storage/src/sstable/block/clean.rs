//! Rows whose cells all lie in column pages, one plain value a column: they need no judging but of each cell alone.

use super::columnar::{ColumnPage, ColumnSlot, ColumnarBlock, Values};
use crate::codec::Damaged;
use crate::sstable::properties::{ColumnStats, Dictionary};
use bytes::Bytes;
use common::ids::Seq;
use common::row::{Cell, Row};
use common::time::Micros;
use common::{Error, Result};

/// Larger values are not copied: whoever keeps one keeps its page.
const COPIED: usize = 4 << 10;

/// What is shown of a row.
pub(in crate::sstable) struct Shown<W, S> {
    /// Nothing numbered above.
    pub(in crate::sstable) at: Seq,
    /// Whether a column is wanted; it has this place in the dictionary.
    pub(in crate::sstable) wants: W,
    /// Whether a cell of a wanted column is shown that is alone in it.
    pub(in crate::sstable) shows: S,
}

/// A cell's value in a page.
struct Piece<'a> {
    /// The row of the block.
    of: usize,
    column: &'a ColumnStats,
    timestamp: i64,
    page: &'a ColumnPage,
    /// The row of the page.
    row: usize,
    length: usize,
}

/// The pages of a block's wide columns that hold some rows.
pub(in crate::sstable) trait WideOfRows {
    /// The page of the slot at this place that holds a row, and the row in it. Pages of wanted columns are there.
    fn wide(&self, at: usize, slot: &ColumnSlot, row: usize) -> Option<(&ColumnPage, usize)>;
}

/// Appends rows as they are shown, those of which nothing is left out; their keys and values lie side by side in memory of their
/// own. Of rows with cells in the overflow this is not the truth.
pub(in crate::sstable) fn clean_rows<W, S>(
    (block, rows): (&ColumnarBlock, impl ExactSizeIterator<Item = usize>),
    dictionary: &Dictionary,
    wide: &impl WideOfRows,
    shown: &Shown<W, S>,
    out: &mut Vec<Row>,
) -> Result<()>
where
    W: Fn(u32, &ColumnStats) -> bool,
    S: Fn(&ColumnStats, Micros) -> bool,
{
    let mut pieces = Vec::with_capacity(rows.len() * block.columns().len());
    // Where all values lie is found out first: none of these steps waits for another.
    for row in rows {
        find(block, row, dictionary, wide, shown, &mut pieces)?;
    }
    assemble(block, &pieces, out);
    Ok(())
}

fn find<'a, W, S>(
    block: &'a ColumnarBlock,
    of: usize,
    dictionary: &'a Dictionary,
    wide: &'a impl WideOfRows,
    shown: &Shown<W, S>,
    out: &mut Vec<Piece<'a>>,
) -> Result<()>
where
    W: Fn(u32, &ColumnStats) -> bool,
    S: Fn(&ColumnStats, Micros) -> bool,
{
    let own = block.versions()?.of(of);
    for (at, slot) in block.columns().iter().enumerate() {
        let column = dictionary.column(slot.info.place).ok_or_else(|| block.damaged(Damaged("a column is not in the dictionary")))?;
        if !(shown.wants)(slot.info.place, column) {
            continue;
        }
        let (page, row) = match block.page(slot)? {
            Some(page) => (page.as_ref(), of),
            None => wide.wide(at, slot, of).ok_or_else(|| Error::internal("a wide page was not read before its row"))?,
        };
        if !page.is_present(row) {
            continue;
        }
        let (timestamp, seq) = if slot.info.exceptions { page.exception(row).unwrap_or(own) } else { own };
        if seq <= shown.at.0 && (shown.shows)(column, Micros(timestamp)) {
            out.push(Piece { of, column, timestamp, page, row, length: page.length(row) });
        }
    }
    Ok(())
}

fn assemble(block: &ColumnarBlock, pieces: &[Piece<'_>], out: &mut Vec<Row>) {
    let rows = || pieces.chunk_by(|a, b| a.of == b.of);
    let copied = pieces.iter().filter(|p| p.is_copied()).map(|p| p.length).sum::<usize>();
    let mut all = Vec::with_capacity(rows().map(|row| block.key(row[0].of).len()).sum::<usize>() + copied);
    for row in rows() {
        all.extend_from_slice(block.key(row[0].of));
        row.iter().filter(|p| p.is_copied()).for_each(|p| p.page.put(p.row, &mut all));
    }
    let mut all = Bytes::from(all);
    out.extend(
        rows().map(|row| Row {
            key: all.split_to(block.key(row[0].of).len()),
            cells: row.iter().map(|piece| piece.cell(&mut all)).collect(),
        }),
    );
}

impl Piece<'_> {
    fn is_copied(&self) -> bool {
        self.length <= COPIED
    }

    /// The cell; its value is the next of `all`, if it is one that is copied.
    fn cell(&self, all: &mut Bytes) -> Cell {
        let value = if self.is_copied() { all.split_to(self.length) } else { self.page.slice(self.row) };
        Cell { family: self.column.family, qualifier: self.column.qualifier.clone(), timestamp: Micros(self.timestamp), value }
    }
}

impl ColumnPage {
    /// Bytes of a row's value.
    pub(super) fn length(&self, row: usize) -> usize {
        match &self.values {
            Values::Fixed8(_) => 8,
            Values::Bool(_) => 1,
            Values::Var { offsets, .. } => (offsets[row + 1] - offsets[row]) as usize,
            Values::Dict { codes, offsets, .. } => {
                let code = codes[row] as usize;
                (offsets[code + 1] - offsets[code]) as usize
            }
        }
    }

    /// Appends a row's value as its cell had it.
    pub(super) fn put(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Fixed8(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Values::Bool(values) => out.push(u8::from(values.value(row))),
            Values::Var { offsets, data } => out.extend_from_slice(&data[offsets[row] as usize..offsets[row + 1] as usize]),
            Values::Dict { codes, offsets, data } => {
                let code = codes[row] as usize;
                out.extend_from_slice(&data[offsets[code] as usize..offsets[code + 1] as usize]);
            }
        }
    }

    /// A row's value, sharing the page's memory where it can.
    fn slice(&self, row: usize) -> Bytes {
        match &self.values {
            Values::Var { offsets, data } => data.slice(offsets[row] as usize..offsets[row + 1] as usize),
            Values::Dict { codes, offsets, data } => {
                let code = codes[row] as usize;
                data.slice(offsets[code] as usize..offsets[code + 1] as usize)
            }
            Values::Fixed8(_) | Values::Bool(_) => {
                let mut out = Vec::new();
                self.put(row, &mut out);
                out.into()
            }
        }
    }
}
