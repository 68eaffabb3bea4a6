//! A needed column of a block: in one page, or in several of which those are read that somebody looks at.

use super::check::Check;
use super::gather::Piece;
use super::mask::mask_column;
use super::page::Column;
use crate::sstable::WidePage;
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use common::{Error, Result};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// See the module's page.
#[derive(Debug)]
pub(super) enum BlockColumn {
    Whole(Arc<Column>),
    Pages(Vec<Page>),
}

/// Some rows of a wide column.
#[derive(Debug)]
pub(super) struct Page {
    /// Of the block.
    rows: Range<usize>,
    column: OnceLock<Arc<Column>>,
}

pub(super) fn misaligned(rows: usize, due: usize) -> Error {
    Error::corrupt(format!("a column of {rows} rows where {due} are due"))
}

impl BlockColumn {
    /// A wide column, of which nothing is read.
    pub(super) fn paged(places: &[WidePage]) -> Self {
        let page = |p: &WidePage| Page { rows: p.first_row..p.first_row + p.rows, column: OnceLock::new() };
        Self::Pages(places.iter().map(page).collect())
    }

    /// The pages, by number, that have some of these rows and are not there.
    pub(super) fn missing(&self, runs: &[Range<usize>]) -> impl Iterator<Item = usize> {
        let pages = match self {
            Self::Whole(_) => &[],
            Self::Pages(pages) => pages.as_slice(),
        };
        let meets = |rows: &Range<usize>| runs.iter().any(|run| run.start < rows.end && rows.start < run.end);
        pages.iter().enumerate().filter(move |(_, page)| page.column.get().is_none() && meets(&page.rows)).map(|(at, _)| at)
    }

    /// Puts a page of so many rows in its place.
    pub(super) fn put(&self, page: usize, column: Arc<Column>, rows: usize) -> Result<()> {
        let Self::Pages(pages) = self else { return Ok(()) };
        let page = &pages[page];
        if rows != page.rows.len() {
            return Err(misaligned(rows, page.rows.len()));
        }
        // A second caller would have set the same.
        let _ = page.column.set(column);
        Ok(())
    }

    /// Which of the block's `rows` rows pass, and which have values of another type. All pages are there.
    pub(super) fn judge(&self, check: &Check, rows: usize) -> Result<(BooleanBuffer, Vec<usize>)> {
        let bad = |column: &Column, first: usize| column.bad.iter().map(|(row, _)| first + row).collect::<Vec<_>>();
        match self {
            Self::Whole(column) => Ok((mask_column(check, column, rows)?, bad(column, 0))),
            Self::Pages(pages) => {
                let (mut passing, mut all_bad) = (BooleanBufferBuilder::new(rows), Vec::new());
                for page in pages {
                    let column = page.column()?;
                    passing.append_buffer(&mask_column(check, column, page.rows.len())?);
                    all_bad.extend(bad(column, page.rows.start));
                }
                Ok((passing.finish(), all_bad))
            }
        }
    }

    /// Adds the pieces that hold these rows, whose pages are there.
    ///
    /// # Errors
    /// What `wrong` makes of the first of these rows whose value is not of the column's type.
    pub(super) fn pieces<'a>(&'a self, rows: Range<usize>, wrong: impl Fn(usize, &Error) -> Error, out: &mut Vec<Piece<'a>>) -> Result<()> {
        match self {
            Self::Whole(column) => push(column, rows, 0, wrong, out),
            Self::Pages(pages) => {
                let from = pages.partition_point(|page| page.rows.end <= rows.start);
                for page in pages[from..].iter().take_while(|page| page.rows.start < rows.end) {
                    let first = page.rows.start;
                    let inside = rows.start.max(first) - first..rows.end.min(page.rows.end) - first;
                    push(page.column()?, inside, first, &wrong, out)?;
                }
                Ok(())
            }
        }
    }
}

impl Page {
    fn column(&self) -> Result<&Column> {
        self.column.get().map(AsRef::as_ref).ok_or_else(|| Error::internal("a wide page was not read before its rows"))
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
