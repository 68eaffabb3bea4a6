//! A needed column of a block: in one page, or in several of which those are read that somebody looks at.

use super::check::Check;
use super::gather::Piece;
use super::mask::mask_column;
use super::page::{Column, page_rows};
use crate::sstable::{ColumnPage, ColumnarBlock, WidePage};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use common::value::ValueType;
use common::{Error, Result};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// See the module's page.
#[derive(Debug)]
pub(super) struct BlockColumn {
    ty: ValueType,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Kept in its page, which is the block's slot of this number.
    Slot(usize),
    /// Made for one scan.
    Own(Box<Column>),
    Pages(Vec<Page>),
}

/// Some rows of a wide column.
#[derive(Debug)]
struct Page {
    /// Of the block.
    rows: Range<usize>,
    read: OnceLock<Read>,
}

/// A page that was read, with the column unless that is kept in the page.
#[derive(Debug)]
struct Read {
    page: Arc<ColumnPage>,
    own: Option<Box<Column>>,
}

fn misaligned(rows: usize, due: usize) -> Error {
    Error::corrupt(format!("a column of {rows} rows where {due} are due"))
}

impl BlockColumn {
    /// A column that is in no page.
    pub(super) fn own(column: Column, ty: ValueType) -> Self {
        Self { ty, place: Place::Own(Box::new(column)) }
    }

    /// The column in a block's slot of this number. Of a wide one nothing is read.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn of_slot(block: &ColumnarBlock, slot: usize, ty: ValueType) -> Result<Self> {
        let Some(page) = block.page(&block.columns()[slot])? else {
            let page = |p: &WidePage| Page { rows: p.first_row..p.first_row + p.rows, read: OnceLock::new() };
            return Ok(Self { ty, place: Place::Pages(block.columns()[slot].wide().iter().map(page).collect()) });
        };
        if page_rows(page) != block.rows() {
            return Err(misaligned(page_rows(page), block.rows()));
        }
        Ok(Self { ty, place: Column::keep(page, ty).map_or(Place::Slot(slot), |own| Place::Own(Box::new(own))) })
    }

    /// The pages, by number, that have some of these rows and are not there.
    pub(super) fn missing(&self, runs: &[Range<usize>]) -> impl Iterator<Item = usize> {
        let pages = match &self.place {
            Place::Slot(_) | Place::Own(_) => &[],
            Place::Pages(pages) => pages.as_slice(),
        };
        let meets = |rows: &Range<usize>| runs.iter().any(|run| run.start < rows.end && rows.start < run.end);
        pages.iter().enumerate().filter(move |(_, page)| page.read.get().is_none() && meets(&page.rows)).map(|(at, _)| at)
    }

    /// Puts a page in its place.
    pub(super) fn put(&self, number: usize, page: Arc<ColumnPage>) -> Result<()> {
        let Place::Pages(pages) = &self.place else { return Ok(()) };
        let place = &pages[number];
        if page_rows(&page) != place.rows.len() {
            return Err(misaligned(page_rows(&page), place.rows.len()));
        }
        let own = Column::keep(&page, self.ty).map(Box::new);
        // A second caller would have set the same.
        let _ = place.read.set(Read { page, own });
        Ok(())
    }

    /// Which of the block's rows pass, and which have values of another type. All pages are there.
    pub(super) fn judge(&self, check: &Check, block: &ColumnarBlock) -> Result<(BooleanBuffer, Vec<usize>)> {
        let bad = |column: &Column, first: usize| column.bad.iter().map(|(row, _)| first + row).collect::<Vec<_>>();
        let Place::Pages(pages) = &self.place else {
            let column = self.whole(block)?;
            return Ok((mask_column(check, column, block.rows())?, bad(column, 0)));
        };
        let (mut passing, mut all_bad) = (BooleanBufferBuilder::new(block.rows()), Vec::new());
        for page in pages {
            let column = page.column(self.ty)?;
            passing.append_buffer(&mask_column(check, column, page.rows.len())?);
            all_bad.extend(bad(column, page.rows.start));
        }
        Ok((passing.finish(), all_bad))
    }

    /// Adds the pieces that hold these rows, whose pages are there.
    ///
    /// # Errors
    /// What `wrong` makes of the first of these rows whose value is not of the column's type.
    pub(super) fn pieces<'a>(
        &'a self,
        block: &'a ColumnarBlock,
        rows: Range<usize>,
        wrong: impl Fn(usize, &Error) -> Error,
        out: &mut Vec<Piece<'a>>,
    ) -> Result<()> {
        let Place::Pages(pages) = &self.place else { return push(self.whole(block)?, rows, 0, wrong, out) };
        let from = pages.partition_point(|page| page.rows.end <= rows.start);
        for page in pages[from..].iter().take_while(|page| page.rows.start < rows.end) {
            let first = page.rows.start;
            let inside = rows.start.max(first) - first..rows.end.min(page.rows.end) - first;
            push(page.column(self.ty)?, inside, first, &wrong, out)?;
        }
        Ok(())
    }

    /// A column in one page.
    fn whole<'a>(&'a self, block: &'a ColumnarBlock) -> Result<&'a Column> {
        match &self.place {
            Place::Own(column) => Ok(column),
            Place::Slot(slot) => {
                let kept = block.page(&block.columns()[*slot])?.and_then(|page| Column::kept(page, self.ty));
                kept.ok_or_else(|| Error::internal("a column that was kept is not there"))
            }
            Place::Pages(_) => Err(Error::internal("a wide column is not in one page")),
        }
    }
}

impl Page {
    fn column(&self, ty: ValueType) -> Result<&Column> {
        let column = self.read.get().and_then(|read| read.own.as_deref().or_else(|| Column::kept(&read.page, ty)));
        column.ok_or_else(|| Error::internal("a wide page was not read before its rows"))
    }
}

fn push<'a>(
    column: &'a Column,
    rows: Range<usize>,
    first: usize,
    wrong: impl Fn(usize, &Error) -> Error,
    out: &mut Vec<Piece<'a>>,
) -> Result<()> {
    if let Some((row, e)) = column.bad_row(&rows) {
        return Err(wrong(first + row, e));
    }
    out.push(Piece { column, rows });
    Ok(())
}
