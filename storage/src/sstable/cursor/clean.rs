//! Rows of a columnar block as a reader sees them, many at once: for rows that no other source has, and no delete.

use super::BlockCursor;
use super::position::Position;
use crate::sstable::block::items::Wanted;
use crate::sstable::block::{Shown, clean_rows};
use crate::sstable::properties::ColumnStats;
use crate::sstable::reader::{Need, Reader, Step, Stop};
use common::Result;
use common::row::Row;
use common::time::Micros;
use std::ops::Deref;

/// Rows that are made at once: they share their memory.
const AT_ONCE: usize = 64;

impl<R: Deref<Target = Reader>> BlockCursor<R> {
    /// Appends what is shown of the next rows of the last [window](Self::window), at most `limit` of them, up to the first
    /// that must be judged; how many rows that were. `shows` is asked for each wanted column and timestamp.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn clean_rows(
        &mut self,
        limit: usize,
        shows: &(impl Fn(&ColumnStats, Micros) -> bool + Sync),
        out: &mut Vec<Row>,
    ) -> Result<usize> {
        loop {
            match self.clean_rows_now(limit.min(AT_ONCE), shows, out) {
                Ok(rows) => return Ok(rows),
                Err(Stop::Failed(e)) => return Err(e),
                Err(Stop::Need(need)) => self.fetch(need).await?,
            }
        }
    }

    fn clean_rows_now(&mut self, limit: usize, shows: &impl Fn(&ColumnStats, Micros) -> bool, out: &mut Vec<Row>) -> Step<usize> {
        let meta = self.meta()?;
        let reverse = self.scan.reverse;
        let Some(Position::Columnar(at)) = &mut self.position else { return Ok(0) };
        let Some(first) = at.peek(reverse) else { return Ok(0) };
        let wanted = Wanted::listed(&self.scan, &self.listed);
        let needed = at.wide_needed(first, &meta.dictionary, &wanted, &mut self.pages, &self.reader, reverse);
        if !needed.is_empty() {
            return Err(Stop::Need(Need::Wide(at.block.clone(), needed)));
        }
        let rows = at.clean_ahead(limit, reverse)?;
        let wants = |place, _: &ColumnStats| wanted.asks_listed(place, &meta.dictionary);
        let shown = Shown { at: self.scan.at, wants, shows };
        let (block, count) = (&at.block, rows.len());
        if reverse {
            clean_rows((block, rows.rev()), &meta.dictionary, &at.wide, &shown, out)?;
        } else {
            clean_rows((block, rows), &meta.dictionary, &at.wide, &shown, out)?;
        }
        self.skip(count);
        Ok(count)
    }
}
