//! A block as a scan works on it: which rows pass, and their columns as arrays, each made once and only if it is asked for.

use super::block_column::BlockColumn;
use super::clean::{Window, unclean};
use super::column::ColumnBuilder;
use super::filter::Filter;
use super::gather::Piece;
use super::mask::mask;
use super::needs::{Binding, Needs, Output};
use super::page::{Cells, Column, Rows, page_rows, with_value};
use super::projection::Projection;
use super::value::{lacks_prefix, wrong};
use crate::read::Covers;
use crate::sstable::{Bounds, ColumnPage, ColumnarBlock, OverflowCell, OverflowColumn, WidePage};
use arrow_array::ArrayRef;
use arrow_array::builder::BinaryBuilder;
use arrow_buffer::BooleanBuffer;
use common::key::{KeyError, KeyRange, PartRef};
use common::value::ValueType;
use common::{Error, Result};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// What is the same for all blocks of a scan.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) projection: Arc<Projection>,
    pub(super) filter: Filter,
    pub(super) needs: Arc<Needs>,
    pub(super) window: Window,
}

/// Reads the pages of wide columns.
pub(super) trait ReadWide: Sync {
    /// These pages, in this order.
    ///
    /// # Errors
    /// `Corrupt`, `Unavailable`.
    fn wide_pages(&self, pages: &[&WidePage]) -> impl Future<Output = Result<Vec<Arc<ColumnPage>>>> + Send;
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct BlockState {
    shape: Arc<Shape>,
    pub(super) block: Arc<ColumnarBlock>,
    binding: Arc<Binding>,
    /// The rows that have to be judged cell by cell; `None`: no row has.
    pub(super) unclean: Option<BooleanBuffer>,
    /// Which rows pass the filter, as far as they are clean; `None`: all.
    pub(super) passing: Option<BooleanBuffer>,
    /// The needed columns.
    columns: Vec<OnceLock<BlockColumn>>,
    /// The key parts, if the filter needed them.
    parts: Vec<OnceLock<ArrayRef>>,
}

impl BlockState {
    /// Decodes what the filter needs of a block.
    ///
    /// # Errors
    /// `Corrupt`, naming table, key part and key, or object and offset.
    pub(super) async fn new(
        shape: Arc<Shape>,
        block: Arc<ColumnarBlock>,
        binding: Arc<Binding>,
        (bounds, covers): (&Bounds, &Covers),
        wide: &impl ReadWide,
    ) -> Result<Self> {
        let covered = is_covered(&block, bounds, covers);
        let unclean = if covered { Some(BooleanBuffer::new_set(block.rows())) } else { unclean(&block, &binding, &shape.window, bounds)? };
        let columns = shape.needs.columns.iter().map(|_| OnceLock::new()).collect();
        let parts = shape.projection.table().key.iter().map(|_| OnceLock::new()).collect();
        let mut out = Self { shape, block, binding, unclean, passing: None, columns, parts };
        (out.passing, out.unclean) = out.judge(wide).await?;
        Ok(out)
    }

    /// Which rows pass, and which have to be judged cell by cell. A value with a condition that is not of its column's
    /// type is left to the latter: it may lie in a row that nobody asks for.
    async fn judge(&self, wide: &impl ReadWide) -> Result<(Option<BooleanBuffer>, Option<BooleanBuffer>)> {
        let (filter, mut unclean) = (&self.shape.filter, self.unclean.clone());
        let mut passing = self.keys_passing()?;
        for (condition, need) in filter.columns.iter().zip(&self.shape.needs.conditions) {
            if passing.as_ref().is_some_and(|mask| mask.count_set_bits() == 0) {
                break;
            }
            self.read([*need], std::slice::from_ref(&(0..self.block.rows())), wide).await?;
            let (mask, bad) = self.column(*need)?.judge(&condition.check, &self.block)?;
            if !bad.is_empty() {
                let flags = BooleanBuffer::collect_bool(self.block.rows(), |row| bad.binary_search(&row).is_ok());
                unclean = Some(unclean.map_or_else(|| flags.clone(), |unclean| &unclean | &flags));
            }
            join(&mut passing, mask);
        }
        Ok((passing, unclean))
    }

    fn keys_passing(&self) -> Result<Option<BooleanBuffer>> {
        let (filter, rows) = (&self.shape.filter, self.block.rows());
        let mut out = None;
        if let Some(times) = &filter.times {
            join(&mut out, BooleanBuffer::collect_bool(rows, |row| times.passes(self.block.key(row))));
        }
        for check in &filter.raw_key {
            join(&mut out, BooleanBuffer::collect_bool(rows, |row| check.passes(Some(PartRef::Bytes(self.block.key(row))))));
        }
        if filter.parts.is_empty() {
            return Ok(out);
        }
        let mut rest = self.keys(&Rows::Range(0..rows))?;
        for (at, (codec, checks)) in filter.parts.iter().enumerate() {
            let array = codec.decode_array(&mut rest).map_err(|e| self.wrong_part(at, e.0, e.1))?;
            for check in checks {
                join(&mut out, mask(check, &array)?);
            }
            // A second caller would have set the same.
            let _ = self.parts[at].set(array);
        }
        Ok(out)
    }

    /// The keys of these rows behind their table's prefix.
    fn keys(&self, rows: &Rows) -> Result<Vec<&[u8]>> {
        let prefix = self.shape.projection.key_prefix.as_slice();
        let mut keys = Vec::with_capacity(rows.len());
        rows.each(|row| {
            let key = self.block.key(row);
            keys.push(key.strip_prefix(prefix).ok_or_else(|| lacks_prefix(self.shape.projection.table(), key))?);
            Ok(())
        })?;
        Ok(keys)
    }

    fn wrong_part(&self, part: usize, row: usize, e: Error) -> Error {
        let table = self.shape.projection.table();
        wrong(table, &table.key[part].name, self.block.key(row), &e)
    }

    /// Reads what these rows, in rising runs, need of wide columns.
    ///
    /// # Errors
    /// `Corrupt`, naming object and offset, `Unavailable`.
    pub(super) async fn prepare(&self, runs: &[Range<usize>], wide: &impl ReadWide) -> Result<()> {
        let columns = self.shape.needs.outputs.iter().filter_map(|output| match output {
            Output::Column(at) => Some(*at),
            _ => None,
        });
        self.read(columns, runs, wide).await
    }

    /// Reads the pages of these columns that have some of the rows.
    async fn read(&self, columns: impl IntoIterator<Item = usize>, runs: &[Range<usize>], wide: &impl ReadWide) -> Result<()> {
        let mut missing = Vec::new();
        for at in columns {
            missing.extend(self.column(at)?.missing(runs).map(|page| (at, page)));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let place = |at: usize| self.binding.columns[at].map_or(&[][..], |place| self.block.wide(place));
        let places: Vec<_> = missing.iter().filter_map(|(at, page)| place(*at).get(*page)).collect();
        for ((at, page), read) in missing.iter().zip(wide.wide_pages(&places).await?) {
            self.column(*at)?.put(*page, read)?;
        }
        Ok(())
    }

    /// Adds the pieces of an output column that hold these rows, which were [prepared](Self::prepare).
    ///
    /// # Errors
    /// `Corrupt`, naming table, column and key, for a value that is not one of its column's type.
    pub(super) fn pieces<'a>(&'a self, output: usize, rows: Range<usize>, out: &mut Vec<Piece<'a>>) -> Result<()> {
        let Output::Column(at) = self.shape.needs.outputs[output] else {
            return Err(Error::internal("an output that is no column has no pieces"));
        };
        let wrong = |row: usize, e: &Error| {
            let name = &self.shape.needs.columns[at].name;
            wrong(self.shape.projection.table(), name, self.block.key(row), e)
        };
        self.column(at)?.pieces(&self.block, rows, wrong, out)
    }

    /// What of the output is made of keys and maps, for these rows: columns with their places in the output.
    ///
    /// # Errors
    /// As [`Self::pieces`].
    pub(super) async fn packed(&self, rows: &Rows, wide: &impl ReadWide) -> Result<Vec<(usize, Column)>> {
        let parts = self.key_arrays(rows)?;
        let mut out = Vec::new();
        for (place, output) in self.shape.needs.outputs.iter().enumerate() {
            let array = match *output {
                Output::RowKey => self.row_keys(rows),
                Output::Part(at) => parts.get(at).cloned().flatten().ok_or_else(|| Error::internal("a key part was not decoded"))?,
                Output::Map(at) => self.map(at, rows, wide).await?,
                Output::Column(_) => continue,
            };
            out.push((place, Column::plain(array)));
        }
        Ok(out)
    }

    fn row_keys(&self, rows: &Rows) -> ArrayRef {
        let mut builder = BinaryBuilder::with_capacity(rows.len(), rows.len() * 16);
        rows.iter().for_each(|row| builder.append_value(self.block.key(row)));
        Arc::new(builder.finish())
    }

    /// The asked key parts of these rows.
    fn key_arrays(&self, rows: &Rows) -> Result<Vec<Option<ArrayRef>>> {
        let parts = &self.shape.projection.parts;
        let known = |at: usize| self.parts[at].get();
        if parts.iter().enumerate().all(|(at, (_, output))| output.is_none() || known(at).is_some()) {
            let pick = |(at, (_, output)): (usize, &(_, Option<usize>))| output.and_then(|_| known(at)).map(|a| rows.of(a)).transpose();
            return parts.iter().enumerate().map(pick).collect();
        }
        let mut rest = self.keys(rows)?;
        let named = |at: usize| move |(i, e): KeyError| self.wrong_part(at, rows.at(i), e);
        let mut out = Vec::with_capacity(parts.len());
        for (at, (codec, output)) in parts.iter().enumerate() {
            out.push(match output {
                Some(_) => Some(codec.decode_array(&mut rest).map_err(named(at))?),
                None => {
                    codec.skip_all(&mut rest).map_err(named(at))?;
                    None
                }
            });
        }
        Ok(out)
    }

    fn column(&self, at: usize) -> Result<&BlockColumn> {
        if let Some(column) = self.columns[at].get() {
            return Ok(column);
        }
        let made = self.make_column(at)?;
        Ok(self.columns[at].get_or_init(|| made))
    }

    fn make_column(&self, at: usize) -> Result<BlockColumn> {
        let need = &self.shape.needs.columns[at];
        let Some(place) = self.binding.columns[at] else { return Ok(BlockColumn::own(Column::ABSENT, need.ty)) };
        match self.block.columns().iter().position(|slot| slot.info.place == place) {
            Some(slot) => BlockColumn::of_slot(&self.block, slot, need.ty),
            None => Ok(BlockColumn::own(self.column_of_overflow(place, need.ty)?, need.ty)),
        }
    }

    /// A column too rare for a page.
    fn column_of_overflow(&self, place: u32, ty: ValueType) -> Result<Column> {
        let Some(overflow) = self.block.overflow()? else { return Ok(Column::ABSENT) };
        let of_column = (overflow.rows.iter().enumerate()).filter_map(|(i, row)| Some((*row as usize, newest(overflow.at(i), place)?)));
        let mut cells = Cells::new(ty);
        for (row, cell) in of_column {
            while cells.rows() < row {
                cells.push_null();
            }
            cells.push(&overflow.value(cell));
        }
        if cells.rows() == 0 {
            return Ok(Column::ABSENT);
        }
        while cells.rows() < self.block.rows() {
            cells.push_null();
        }
        Ok(cells.finish())
    }

    /// The map of a family's undeclared columns, for these rows.
    async fn map(&self, at: usize, rows: &Rows, wide: &impl ReadWide) -> Result<ArrayRef> {
        let (need, places) = (&self.shape.needs.maps[at], &self.binding.maps[at]);
        let field = self.shape.projection.schema().field(need.output);
        let mut pages = Vec::new();
        for (place, name) in places {
            let apart = self.block.wide(*place);
            if !apart.is_empty() {
                let firsts = apart.iter().map(|page| page.first_row);
                let read = wide.wide_pages(&apart.iter().collect::<Vec<_>>()).await?;
                pages.extend(read.into_iter().zip(firsts).map(|(page, first)| (name, first, page)));
            } else if let Some(page) = self.block.column(*place)? {
                pages.push((name, 0, page));
            }
        }
        let overflow = self.block.overflow()?;
        let mut builder = ColumnBuilder::of(field.data_type());
        let mut entries = Vec::new();
        for row in rows.iter() {
            let here = pages.iter().filter(|(_, first, page)| (*first..first + page_rows(page)).contains(&row));
            entries.extend(
                here.filter(|(_, first, page)| page.is_present(row - first)).map(|(name, first, page)| (*name, Ok((page, row - first)))),
            );
            if let Some(overflow) = overflow {
                let cells = overflow.of_row(row);
                let listed = places.iter().filter_map(|(place, name)| newest(cells, *place).map(|cell| (name, Err(cell))));
                let before = entries.len();
                entries.extend(listed);
                if before < entries.len() {
                    // A page's entry lies before an older one of the overflow: the sort keeps that.
                    entries.sort_by(|a, b| a.0.cmp(b.0));
                    entries.dedup_by(|later, first| later.0 == first.0);
                }
            }
            let any = !entries.is_empty();
            for (name, entry) in entries.drain(..) {
                let pushed = match (entry, overflow) {
                    (Ok((page, at)), _) => with_value(page, at, |value| builder.push_entry(name, value)),
                    (Err(cell), Some(overflow)) => builder.push_entry(name, &overflow.value(cell)),
                    (Err(_), None) => Ok(()),
                };
                pushed.map_err(|e| {
                    wrong(self.shape.projection.table(), field.name(), self.block.key(row), &e.context(name.escape_ascii()))
                })?;
            }
            builder.end_map(any)?;
        }
        Ok(builder.finish())
    }
}

/// The newest version of a column among a row's overflow cells.
fn newest(cells: &[OverflowCell], place: u32) -> Option<&OverflowCell> {
    cells.iter().find(|cell| cell.column == OverflowColumn::Listed(place))
}

fn join(all_of: &mut Option<BooleanBuffer>, more: BooleanBuffer) {
    *all_of = Some(match all_of.take() {
        Some(mask) => &mask & &more,
        None => more,
    });
}
/// Whether a row-range delete may hide some of a block's rows.
fn is_covered(block: &ColumnarBlock, bounds: &Bounds, covers: &Covers) -> bool {
    let Some(last) = block.rows().checked_sub(1) else { return false };
    let meets =
        |range: &KeyRange| range.start.as_ref() <= block.key(last) && range.end.as_ref().is_none_or(|end| end.as_ref() > block.key(0));
    covers.fragments().iter().any(|(range, seqs)| seqs.last().is_some_and(|seq| *seq > bounds.seqs.0) && meets(range))
}
