//! Reading one section of an SSTable in key order, forward or backward, skipping blocks that cannot matter.
//!
//! Steps are taken without a look at the store; a step that needs what is not in memory says so, what it needs is read, and
//! the step is taken again.

mod ahead;
mod begin;
mod clean;
mod position;
mod seek;
mod window;

use super::Section;
use super::block::Block;
use super::block::columnar::ColumnPage;
use super::block::items::{Wanted, read_cells, read_deletes};
use super::block::{Scratch, read_row};
use super::filter::FilterPartition;
use super::index::{IndexEntry, PARTITION_ENTRIES};
use super::reader::{Held, Meta, Need, Reader, Step, Stop};
use crate::raw::{RawRow, Scan};
use ahead::Pending;
pub(crate) use ahead::Prefetch;
pub(crate) use begin::{Beginning, Partitions};
use common::Result;
use common::key::KeyRange;
use position::{Columnar, Keyed, Position};
use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::sync::Arc;
pub(crate) use window::Window;

/// Cells that room is made for beforehand at most.
const MAX_HINT: usize = 256;

/// Whether a block may be left out, by its index entry and the first key of the block behind it, where that is at hand:
/// asked of columnar blocks only.
pub(crate) type Skip = Arc<dyn Fn(&IndexEntry, Option<&[u8]>) -> bool + Send + Sync>;

/// See the module's page.
pub(crate) struct BlockCursor<R> {
    reader: R,
    section: Section,
    scan: Arc<Scan>,
    skip: Option<Skip>,
    meta: Option<Arc<Meta>>,
    /// Which columns of the dictionary are wanted.
    listed: Vec<bool>,
    /// Which range of the scan is read.
    range: usize,
    state: State,
    position: Option<Position>,
    /// A row whose pieces are gathered.
    partial: Option<RawRow>,
    /// Index partitions used last, the newest first: a step uses at most as many as it keeps.
    partitions: VecDeque<(usize, Arc<Vec<IndexEntry>>)>,
    /// The filter partition read last.
    filter: Vec<(usize, Arc<FilterPartition>)>,
    /// The block used last: the next range may begin in it.
    last: Option<(usize, Block)>,
    /// Blocks read ahead, in the scan's order: number and block.
    ahead: VecDeque<(usize, Block)>,
    /// Wide pages read ahead, by offset.
    pages: HashMap<u64, Arc<ColumnPage>>,
    /// Whether pages of further blocks are read too.
    pages_ahead: bool,
    /// Bytes to read ahead at the next miss.
    ahead_bytes: u64,
    /// How blocks are read beside the scan, if they are.
    prefetch: Option<Prefetch>,
    /// What is on its way, in the scan's order.
    pending: VecDeque<Pending>,
    scratch: Scratch,
    /// Cells of the last row: the next is likely to have as many.
    last_cells: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// At the start of a range.
    Enter,
    /// Looking for a block that cannot be skipped, from this one on.
    Seek {
        number: usize,
        fresh: bool,
    },
    /// At a block. `fresh`: the first of its range.
    Open {
        number: usize,
        fresh: bool,
    },
    /// In a block.
    Read,
    /// Behind a row that may go on after this block.
    Continue(usize),
    /// Behind this block.
    Next(usize),
    Done,
}

impl<R> std::fmt::Debug for BlockCursor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockCursor({:?}, {:?})", self.section, self.state)
    }
}

impl<R: Deref<Target = Reader>> BlockCursor<R> {
    pub(crate) fn new(reader: R, section: Section, scan: Arc<Scan>) -> Self {
        Self {
            reader,
            section,
            scan,
            skip: None,
            meta: None,
            listed: Vec::new(),
            range: 0,
            state: State::Enter,
            position: None,
            partial: None,
            partitions: VecDeque::new(),
            filter: Vec::new(),
            last: None,
            ahead: VecDeque::new(),
            pages: HashMap::new(),
            pages_ahead: false,
            ahead_bytes: 0,
            prefetch: None,
            pending: VecDeque::new(),
            scratch: Scratch::for_scan(),
            last_cells: 0,
        }
    }

    /// Leaves out columnar blocks of which `skip` says so. Whoever asks for it answers for what other sources have in
    /// their keys.
    pub(crate) fn set_skip(&mut self, skip: Skip) {
        self.skip = Some(skip);
    }

    /// The next row with something wanted.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn next(&mut self) -> Result<Option<RawRow>> {
        loop {
            match self.advance() {
                Ok(row) => return Ok(row),
                Err(Stop::Failed(e)) => return Err(e),
                Err(Stop::Need(need)) => self.fetch(need).await?,
            }
        }
    }

    fn advance(&mut self) -> Step<Option<RawRow>> {
        loop {
            match self.turn()? {
                Turn::Row(row) => return Ok(Some(row)),
                Turn::On => {}
                Turn::Done => return Ok(None),
            }
        }
    }

    fn turn(&mut self) -> Step<Turn> {
        match self.state {
            State::Enter => self.enter()?,
            State::Seek { number, fresh } => self.seek(number, fresh)?,
            State::Open { number, fresh } => self.open(number, fresh)?,
            State::Read => return self.read(),
            State::Continue(number) => return self.go_on(number),
            State::Next(number) => self.leave(number),
            State::Done => return Ok(Turn::Done),
        }
        Ok(Turn::On)
    }

    fn meta(&mut self) -> Step<Arc<Meta>> {
        if let Some(meta) = &self.meta {
            return Ok(meta.clone());
        }
        let meta = self.reader.meta_now()?.clone();
        self.listed = Wanted::list(&self.scan, &meta.dictionary);
        self.meta = Some(meta.clone());
        Ok(meta)
    }

    fn current_range(&self) -> Option<&KeyRange> {
        self.scan.range(self.range)
    }

    fn next_range(&mut self) {
        self.range += 1;
        self.state = State::Enter;
    }

    fn open(&mut self, number: usize, fresh: bool) -> Step<()> {
        let block = self.block(number)?;
        let Some(range) = self.scan.range(self.range) else { return Ok(()) };
        self.position = Some(match block {
            Block::Columnar(block) => Position::Columnar(Columnar::new(number, block, range, self.scan.reverse)),
            Block::Keyed(block) => {
                let keyed = Keyed::new(number, block, range, fresh, self.scan.reverse);
                Position::Keyed(keyed.map_err(|d| self.damaged(number, d))?)
            }
        });
        self.state = State::Read;
        Ok(())
    }

    fn read(&mut self) -> Step<Turn> {
        match &self.position {
            Some(Position::Columnar(_)) => self.read_columnar(),
            Some(Position::Keyed(_)) => self.read_keyed(),
            None => Ok(Turn::Done),
        }
    }

    fn read_columnar(&mut self) -> Step<Turn> {
        let meta = self.meta()?;
        let reverse = self.scan.reverse;
        let Some(Position::Columnar(at)) = &mut self.position else { return Ok(Turn::Done) };
        let Some(row) = at.peek(reverse) else {
            if at.ends {
                self.next_range()
            } else {
                self.state = State::Next(at.number)
            }
            return Ok(Turn::On);
        };
        let wanted = Wanted::listed(&self.scan, &self.listed);
        let needed = at.wide_needed(row, &meta.dictionary, &wanted, &mut self.pages, &self.reader, reverse);
        if !needed.is_empty() {
            return Err(Stop::Need(Need::Wide(at.block.clone(), needed)));
        }
        at.take(reverse);
        let mut cells = Vec::with_capacity(self.last_cells);
        read_row((&at.block, row), &meta.dictionary, &wanted, &at.wide, &mut self.scratch, &mut cells)?;
        self.last_cells = cells.len().min(MAX_HINT);
        if cells.is_empty() {
            return Ok(Turn::On);
        }
        Ok(Turn::Row(RawRow { key: at.block.key_bytes(row), cells, ..RawRow::default() }))
    }

    fn read_keyed(&mut self) -> Step<Turn> {
        let meta = self.meta()?;
        let Some(Position::Keyed(at)) = &mut self.position else { return Ok(Turn::Done) };
        let number = at.number;
        let entry = at.next();
        let (entry, exhausted) = match entry {
            Ok(entry) => (entry, at.is_done()),
            Err(d) => return Err(self.damaged(number, d).into()),
        };
        let Some(entry) = entry else {
            self.state = State::Next(number);
            return Ok(Turn::On);
        };
        if self.current_range().is_none_or(|range| !range.contains(&entry.key)) {
            self.next_range();
            return Ok(Turn::On);
        }
        let Some(Position::Keyed(at)) = &self.position else { return Ok(Turn::Done) };
        let mut piece = RawRow { key: entry.key, ..RawRow::default() };
        let wanted = Wanted::listed(&self.scan, &self.listed);
        let read = match self.section {
            Section::Cells => read_cells(&at.block, entry.body, &meta.dictionary, &wanted, &mut piece.cells),
            Section::Deletes => read_deletes(&at.block, entry.body, self.scan.at, &mut piece.deletes),
        };
        read.map_err(|d| self.damaged(number, d))?;
        self.gather(piece);
        if exhausted {
            self.state = State::Continue(number);
            return Ok(Turn::On);
        }
        Ok(self.give())
    }

    /// Joins a piece to the row that it goes on.
    fn gather(&mut self, mut piece: RawRow) {
        match &mut self.partial {
            Some(row) if row.key == piece.key => {
                if self.scan.reverse {
                    std::mem::swap(&mut row.cells, &mut piece.cells);
                    std::mem::swap(&mut row.deletes, &mut piece.deletes);
                }
                row.cells.append(&mut piece.cells);
                row.deletes.append(&mut piece.deletes);
            }
            partial => *partial = Some(piece),
        }
    }

    fn give(&mut self) -> Turn {
        match self.partial.take() {
            Some(row) if !row.is_empty() => Turn::Row(row),
            _ => Turn::On,
        }
    }

    fn damaged(&self, number: usize, d: crate::codec::Damaged) -> common::Error {
        let (n, at) = (number / PARTITION_ENTRIES, number % PARTITION_ENTRIES);
        let partition = self.partitions.iter().find(|(held, _)| *held == n);
        let offset = partition.and_then(|(_, p)| p.get(at)).map_or(0, |e| e.offset);
        self.reader.damaged(offset, d.0)
    }

    async fn fetch(&mut self, need: Need) -> Result<()> {
        if let Need::Block(number, _) = need {
            return self.fetch_blocks(number).await;
        }
        if let Need::Wide(block, needed) = need {
            return self.fetch_pages(&block, &needed).await;
        }
        self.fetch_index(need).await
    }

    /// Reads what lies at the SSTable's end, or a partition of its index or filter.
    async fn fetch_index(&mut self, need: Need) -> Result<()> {
        let mut held = Held::default();
        self.reader.fetch(need, self.scan.fill_cache, &mut held).await?;
        if let Some((_, n, partition)) = held.partitions.pop() {
            self.hold(n, partition);
        }
        if let Some((n, filter)) = held.filters.pop() {
            self.filter = vec![(n, filter)];
        }
        Ok(())
    }
}

/// What one step came to.
enum Turn {
    Row(RawRow),
    /// Nothing yet.
    On,
    Done,
}
