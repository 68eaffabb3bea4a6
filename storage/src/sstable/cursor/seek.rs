//! Which block comes next: by the index, over blocks that cannot matter.

use super::{BlockCursor, State, Turn};
use crate::raw::{Scan, single_key};
use crate::sstable::Section;
use crate::sstable::block::Block;
use crate::sstable::filter::KeyHash;
use crate::sstable::index::{BlockKind, Bounds, ColumnSpan, IndexEntry, PARTITION_ENTRIES};
use crate::sstable::reader::{Meta, Need, Reader, Step, Stop};
use common::key::KeyRange;
use common::row::Columns;
use std::ops::Deref;
use std::sync::Arc;

/// Index partitions that are kept at hand.
const HELD: usize = 8;

/// An entry in its partition.
pub(in crate::sstable) struct EntryRef {
    partition: Arc<Vec<IndexEntry>>,
    at: usize,
}

impl Deref for EntryRef {
    type Target = IndexEntry;

    fn deref(&self) -> &IndexEntry {
        &self.partition[self.at]
    }
}

impl EntryRef {
    /// The first key of the block behind; `None` if another partition has it.
    fn next_key(&self) -> Option<&[u8]> {
        self.partition.get(self.at + 1).map(|next| next.first_key.as_ref())
    }
}

impl<R: Deref<Target = Reader>> BlockCursor<R> {
    /// Opens the next range that may hold something.
    pub(super) fn enter(&mut self) -> Step<()> {
        let meta = self.meta()?;
        let Some(range) = self.current_range().cloned() else {
            self.state = State::Done;
            return Ok(());
        };
        if !self.may_hold(&meta, &range)? {
            self.next_range();
            return Ok(());
        }
        match self.first_block(&meta, &range)? {
            Some(number) => self.state = State::Seek { number, fresh: true },
            None => self.next_range(),
        }
        Ok(())
    }

    /// What the filter says of a range of one key or of keys with one prefix.
    fn may_hold(&self, meta: &Meta, range: &KeyRange) -> Step<bool> {
        if self.section == Section::Deletes {
            return Ok(true);
        }
        let held = &self.filter;
        if let Some(key) = single_key(range) {
            return self.reader.ask(meta, meta.filter.row(key), KeyHash::of_row(key), held);
        }
        match &self.scan.prefix {
            Some(prefix) => self.reader.ask(meta, meta.filter.prefix(prefix), KeyHash::of_prefix(prefix), held),
            None => Ok(true),
        }
    }

    pub(super) fn entry(&mut self, meta: &Meta, number: usize) -> Step<EntryRef> {
        let (n, at) = (number / PARTITION_ENTRIES, number % PARTITION_ENTRIES);
        let held = self.partitions.iter().find(|(held, _)| *held == n).map(|(_, partition)| partition.clone());
        let partition = match held {
            Some(partition) => partition,
            None => {
                let partition = self.reader.partition_now(meta, self.section, n)?;
                self.hold(n, partition.clone());
                partition
            }
        };
        if at >= partition.len() {
            return Err(common::Error::internal("an index entry that is not there").into());
        }
        Ok(EntryRef { partition, at })
    }

    pub(super) fn hold(&mut self, n: usize, partition: Arc<Vec<IndexEntry>>) {
        self.partitions.truncate(HELD - 1);
        self.partitions.push_front((n, partition));
    }

    /// The number of blocks with a first key of which `below` is true: it is so up to some key.
    fn partition_point(&mut self, meta: &Meta, below: impl Fn(&[u8]) -> bool) -> Step<usize> {
        let top = meta.top(self.section);
        let Some(n) = top.partition_point(|p| below(&p.first_key)).checked_sub(1) else { return Ok(0) };
        let partition = self.entry(meta, n * PARTITION_ENTRIES)?.partition;
        Ok(n * PARTITION_ENTRIES + partition.partition_point(|e| below(&e.first_key)))
    }

    /// The block in which reading `range` begins; `None` if nothing can lie inside.
    fn first_block(&mut self, meta: &Meta, range: &KeyRange) -> Step<Option<usize>> {
        let blocks = meta.blocks(self.section);
        let first = if self.scan.reverse {
            let below = self.partition_point(meta, |key| range.end.as_ref().is_none_or(|end| key < end.as_ref()))?;
            match below.checked_sub(1) {
                Some(first) => first,
                None => return Ok(None),
            }
        } else {
            let at = self.partition_point(meta, |key| key < range.start.as_ref())?;
            // A row at the start may have begun in the block before the first that starts with it.
            let begins_here = at < blocks && {
                let entry = self.entry(meta, at)?;
                entry.first_key == range.start && !entry.continues
            };
            if begins_here { at } else { at.saturating_sub(1) }
        };
        Ok(Some(first))
    }

    /// Opens the block, or steps over it.
    pub(super) fn seek(&mut self, number: usize, fresh: bool) -> Step<()> {
        let meta = self.meta()?;
        let Some(range) = self.current_range().cloned() else {
            self.state = State::Done;
            return Ok(());
        };
        if number >= meta.blocks(self.section) {
            self.next_range();
            return Ok(());
        }
        let reverse = self.scan.reverse;
        let of_partition = &meta.top(self.section)[number / PARTITION_ENTRIES];
        let next = if prunes(&self.scan, self.section, &of_partition.bounds) {
            let begin = number - number % PARTITION_ENTRIES;
            if reverse { begin.checked_sub(1) } else { Some(begin + PARTITION_ENTRIES) }
        } else {
            if self.past(&meta, number, &range)? {
                self.next_range();
                return Ok(());
            }
            let entry = self.entry(&meta, number)?;
            if !self.skips(&entry, entry.next_key()) {
                self.state = State::Open { number, fresh };
                return Ok(());
            }
            if reverse { number.checked_sub(1) } else { Some(number + 1) }
        };
        match next {
            Some(number) => self.state = State::Seek { number, fresh },
            None => self.next_range(),
        }
        Ok(())
    }

    /// Whether a block, and all behind it, lies outside the range.
    fn past(&mut self, meta: &Meta, number: usize, range: &KeyRange) -> Step<bool> {
        if !self.scan.reverse {
            let Some(end) = &range.end else { return Ok(false) };
            return Ok(self.entry(meta, number)?.first_key >= *end);
        }
        // The last key of a block is at most the first key of the next.
        let next = number + 1;
        if next >= meta.blocks(self.section) {
            return Ok(false);
        }
        let first_key = match next % PARTITION_ENTRIES {
            0 => meta.top(self.section)[next / PARTITION_ENTRIES].first_key.clone(),
            _ => self.entry(meta, next)?.first_key.clone(),
        };
        Ok(first_key < range.start)
    }

    pub(super) fn skips(&self, entry: &IndexEntry, next_key: Option<&[u8]>) -> bool {
        if prunes(&self.scan, self.section, &entry.bounds) {
            return true;
        }
        let by_columns = !self.scan.others && entry.columns.as_ref().is_some_and(|span| !meets(&self.scan.columns, span));
        by_columns || (entry.kind == BlockKind::Columnar && self.skip.as_ref().is_some_and(|skip| skip(entry, next_key)))
    }

    /// After a block: the next one, or the next range.
    pub(super) fn leave(&mut self, number: usize) {
        let next = if self.scan.reverse { number.checked_sub(1) } else { Some(number + 1) };
        match next {
            Some(number) => self.state = State::Seek { number, fresh: false },
            None => self.next_range(),
        }
    }

    /// After the last entry of a block: its row may go on in the next.
    pub(super) fn go_on(&mut self, number: usize) -> Step<Turn> {
        let meta = self.meta()?;
        let begins = if self.scan.reverse { number } else { number + 1 };
        let goes_on = begins < meta.blocks(self.section) && {
            let entry = self.entry(&meta, begins)?;
            entry.continues && self.partial.as_ref().is_some_and(|row| row.key == entry.first_key)
        };
        let next = if self.scan.reverse { begins.checked_sub(1) } else { Some(begins) };
        let Some(next) = next.filter(|_| goes_on) else {
            self.state = State::Next(number);
            return Ok(self.give());
        };
        let entry = self.entry(&meta, next)?;
        // A piece that cannot matter: but the row may go on behind it.
        self.state = if self.skips(&entry, entry.next_key()) { State::Continue(next) } else { State::Open { number: next, fresh: false } };
        Ok(Turn::On)
    }

    pub(super) fn block(&mut self, number: usize) -> Step<Block> {
        if let Some((last, block)) = &self.last
            && *last == number
        {
            return Ok(block.clone());
        }
        let reverse = self.scan.reverse;
        while self.ahead.front().is_some_and(|(n, _)| if reverse { *n > number } else { *n < number }) {
            self.ahead.pop_front();
        }
        let block = match self.ahead.front() {
            Some((n, block)) if *n == number => block.clone(),
            _ => {
                let meta = self.meta()?;
                let entry = self.entry(&meta, number)?;
                // The cache may have it already; but what follows it is read on from there.
                if self.pending.iter().any(|pending| pending.reads(number)) {
                    return Err(Stop::Need(Need::Block(number, Box::new(entry.clone()))));
                }
                self.reader.block_now(&entry).ok_or_else(|| Stop::Need(Need::Block(number, Box::new(entry.clone()))))?
            }
        };
        if self.ahead.front().is_some_and(|(n, _)| *n == number) {
            self.ahead.pop_front();
        }
        self.last = Some((number, block.clone()));
        Ok(block)
    }
}

pub(super) fn prunes(scan: &Scan, section: Section, bounds: &Bounds) -> bool {
    let by_seq = bounds.seqs.0 > scan.at || bounds.seqs.1 <= scan.above;
    by_seq || (section == Section::Cells && (bounds.timestamps.1 < scan.oldest || bounds.timestamps.0 > scan.newest))
}

/// Whether a wanted column lies in the span.
fn meets(columns: &Columns, span: &ColumnSpan) -> bool {
    let (first, last) = ((span.first.0, &span.first.1), (span.last.0, &span.last.1));
    match columns {
        Columns::All => true,
        Columns::Some(list) => list.iter().any(|(family, qualifier)| match qualifier {
            Some(qualifier) => first <= (*family, qualifier) && (*family, qualifier) <= last,
            None => first.0 <= *family && *family <= last.0,
        }),
        Columns::Ranges(list) => list.iter().any(|r| {
            let ends_before = r.family < first.0 || (r.family == first.0 && r.end.as_ref().is_some_and(|end| *end <= span.first.1));
            !ends_before && (r.family, &r.start) <= last
        }),
    }
}
