//! Rows of a columnar block as they lie there: for readers that look at columns.

use super::position::Position;
use super::{BlockCursor, State};
use crate::sstable::block::columnar::ColumnarBlock;
use crate::sstable::index::Bounds;
use crate::sstable::reader::{Reader, Step, Stop};
use common::Result;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Rows of a columnar block that a scan wants and that nobody has read yet.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) block: Arc<ColumnarBlock>,
    pub(crate) rows: Range<usize>,
    /// Of all cells of the block.
    pub(crate) bounds: Bounds,
}

impl Window {
    /// How many of its rows come before `limit` in the scan's direction.
    pub(crate) fn before(&self, limit: Option<&[u8]>, reverse: bool) -> usize {
        self.block.count_before(&self.rows, limit, reverse)
    }

    /// Leaves out so many of its first rows in the scan's direction.
    pub(crate) fn pass(&mut self, rows: usize, reverse: bool) {
        if reverse { self.rows.end -= rows } else { self.rows.start += rows }
    }
}

impl<R: Deref<Target = Reader>> BlockCursor<R> {
    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    /// The rows of one columnar block that come next; `None` if what comes next is to be read row by row. Nothing is read
    /// by it: [`Self::next`] gives the first of these rows.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn window(&mut self) -> Result<Option<Window>> {
        loop {
            match self.window_now() {
                Ok(window) => return Ok(window),
                Err(Stop::Failed(e)) => return Err(e),
                Err(Stop::Need(need)) => self.fetch(need).await?,
            }
        }
    }

    fn window_now(&mut self) -> Step<Option<Window>> {
        loop {
            match (self.state, &self.position) {
                (State::Read, Some(Position::Columnar(at))) if !at.rows.is_empty() => {
                    let (number, block, rows) = (at.number, at.block.clone(), at.rows.clone());
                    let meta = self.meta()?;
                    let bounds = self.entry(&meta, number)?.bounds;
                    return Ok(Some(Window { block, rows, bounds }));
                }
                // A row may be half read, or there is none.
                (State::Read, Some(Position::Keyed(_)) | None) | (State::Continue(_) | State::Done, _) => return Ok(None),
                // These steps come to a block, not to a row.
                (State::Read, Some(Position::Columnar(_)))
                | (State::Enter | State::Seek { .. } | State::Open { .. } | State::Next(_), _) => {
                    self.turn()?;
                }
            }
        }
    }

    /// Leaves out so many of the rows of the last [window](Self::window).
    pub(crate) fn skip(&mut self, rows: usize) {
        if let Some(Position::Columnar(at)) = &mut self.position {
            let rows = rows.min(at.rows.len());
            if self.scan.reverse { at.rows.end -= rows } else { at.rows.start += rows }
        }
    }
}
