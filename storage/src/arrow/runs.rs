//! Merging sources by key alone: where only one has rows, and they lie in a columnar block, they are handed on as a run
//! of that block's rows, unread.

use super::ahead::{begin, read_ahead};
use super::block::{BlockState, ReadWide, Shape};
use super::bounds::may_pass;
use super::needs::Binding;
use super::others::Others;
use super::plan::Plan;
use crate::metrics::Metrics;
use crate::raw::RawRow;
use crate::read::{Covers, Source, Sources, sources_of};
use crate::sstable::{ColumnPage, ColumnarBlock, Reader, WidePage};
use common::Result;
use common::ids::Seq;
use common::schema::Table;
use common::time::Micros;
use futures::future::try_join_all;
use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The next rows of a scan.
pub(super) enum Run {
    /// One row, with all that the sources have of it.
    Row(RawRow),
    /// Clean rows of the block that a source is at, which no other source has.
    Rows { source: usize, rows: Range<usize> },
}

/// Reads the wide columns of a block.
#[derive(Clone, Debug)]
pub(super) struct Wide<R> {
    reader: R,
    fill_cache: bool,
    /// Pages that were read ahead, by offset.
    ahead: Arc<HashMap<u64, Arc<ColumnPage>>>,
}

impl<R: Deref<Target = Reader> + Sync> ReadWide for Wide<R> {
    async fn wide_pages(&self, pages: &[&WidePage]) -> Result<Vec<Arc<ColumnPage>>> {
        let ahead = pages.iter().map(|page| self.ahead.get(&page.offset).cloned()).collect();
        match ahead {
            Some(pages) => Ok(pages),
            None => self.reader.wide_pages(pages, self.fill_cache).await,
        }
    }
}

/// A source and what comes next of it.
#[derive(Debug)]
struct Head<R> {
    source: Source<R>,
    next: Next,
    /// The block that was read last.
    at: Option<At<R>>,
    binding: Option<Arc<Binding>>,
}

/// A block, and how its wide columns are read.
#[derive(Debug)]
pub(super) struct At<R> {
    pub(super) state: Arc<BlockState>,
    pub(super) wide: Wide<R>,
}

#[derive(Debug)]
enum Next {
    /// Not asked for yet.
    Unknown,
    Row(RawRow),
    /// These rows of the head's block.
    Rows(Range<usize>),
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct RunMerge<R> {
    heads: Vec<Head<R>>,
    all: All<R>,
    /// Every source was asked what comes first.
    started: bool,
    /// Row-range deletes up to the scan's seq.
    covers: Covers,
    /// Where they come from, until they are read.
    covering: Option<Sources<R>>,
    at: Seq,
    reverse: bool,
    /// Rows may come in any order, as long as each comes once.
    any_order: bool,
}

/// What is the same for all sources.
#[derive(Debug)]
struct All<R> {
    shape: Arc<Shape>,
    /// All sources, if blocks may be left out for their values: those that no other source has rows among.
    others: Option<Sources<R>>,
    fill_cache: bool,
    /// All rows are wanted, as far as one knows.
    goes_on: bool,
    now: Micros,
    metrics: Arc<Metrics>,
}

impl<R: Deref<Target = Reader> + Clone + Debug + Send + Sync + 'static> RunMerge<R> {
    pub(super) fn new(sources: &Sources<R>, plan: &Plan, metrics: Arc<Metrics>) -> Self {
        let (scan, shape) = (&plan.scan, plan.shape.clone());
        let head = |source| Head { source, next: Next::Unknown, at: None, binding: None };
        let heads = sources_of(sources, scan).into_iter().map(head).collect();
        let others = (!shape.filter.columns.is_empty()).then(|| sources.clone());
        let covering = sources.have_range_deletes().then(|| sources.clone());
        let goes_on = plan.row_limit == usize::MAX;
        let all = All { shape, others, fill_cache: scan.fill_cache, goes_on, now: plan.now, metrics };
        let any_order = !plan.ordered && !scan.reverse;
        Self { heads, all, started: false, covers: Covers::default(), covering, at: scan.at, reverse: scan.reverse, any_order }
    }

    /// The next run; `None` at the end. A run of rows stays the next one until it is [taken](Self::take_rows).
    pub(super) async fn next(&mut self) -> Result<Option<Run>> {
        self.settle().await?;
        let Some((first, limit)) = self.first_two() else { return Ok(None) };
        let head = &self.heads[first];
        if let (Next::Rows(rows), Some(at)) = (&head.next, &head.at) {
            let rows = match limit.and_then(|at| self.heads[at].key(self.reverse)) {
                Some(_) if self.any_order => self.apart(first, &at.state.block, rows.clone()),
                limit => before(&at.state.block, rows, limit, self.reverse),
            };
            let rows = self.clean(&at.state, rows);
            if rows.start < rows.end {
                return Ok(Some(Run::Rows { source: first, rows }));
            }
        }
        self.row(first).await.map(|row| row.map(Run::Row))
    }

    /// The block that a source is at.
    pub(super) fn at(&self, source: usize) -> Option<&At<R>> {
        self.heads.get(source).and_then(|head| head.at.as_ref())
    }

    /// Takes rows off the run that came last: all but `rest`.
    pub(super) fn take_rows(&mut self, source: usize, run: &Range<usize>, rest: &Range<usize>) {
        let head = &mut self.heads[source];
        let taken = run.len() - rest.len();
        head.source.skip(taken);
        if let Next::Rows(rows) = &mut head.next {
            if self.reverse {
                rows.end -= taken
            } else {
                rows.start += taken
            }
            if rows.start >= rows.end {
                head.next = Next::Unknown;
            }
        }
    }

    /// Asks every source what comes next; those at their end go.
    async fn settle(&mut self) -> Result<()> {
        if let Some(sources) = self.covering.take() {
            self.covers = Covers::new(sources.range_deletes(self.at).await?);
        }
        let all = &self.all;
        let covers = &self.covers;
        if !self.started {
            // Each has something to read first: none waits for the others.
            self.started = true;
            let rest: Vec<bool> = try_join_all(self.heads.iter_mut().map(|head| head.start(all, covers))).await?;
            let mut rest = rest.into_iter();
            self.heads.retain(|_| rest.next().unwrap_or(false));
            return Ok(());
        }
        let mut at = 0;
        while at < self.heads.len() {
            let head = &mut self.heads[at];
            if matches!(head.next, Next::Unknown) && !head.settle(all, covers).await? {
                self.heads.swap_remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// The head with the first key, and the one with the first key among the others.
    fn first_two(&self) -> Option<(usize, Option<usize>)> {
        let mut first: Option<(usize, &[u8])> = None;
        let mut second = first;
        for (at, head) in self.heads.iter().enumerate() {
            let Some(key) = head.key(self.reverse) else { continue };
            let precedes = |other: Option<(usize, &[u8])>| other.is_none_or(|(_, k)| if self.reverse { key > k } else { key < k });
            if precedes(first) {
                second = first;
                first = Some((at, key));
            } else if precedes(second) {
                second = Some((at, key));
            }
        }
        first.map(|(at, _)| (at, second.map(|(at, _)| at)))
    }

    /// The first of these rows of a head's block that no other head has, whatever lies between them.
    fn apart(&self, of: usize, block: &ColumnarBlock, mut rows: Range<usize>) -> Range<usize> {
        for (_, other) in self.heads.iter().enumerate().filter(|(at, _)| *at != of) {
            let count = match (&other.next, &other.at) {
                (Next::Rows(others), Some(at)) => block.count_apart(&rows, &at.state.block, others),
                _ => block.count_before(&rows, other.key(false), false),
            };
            rows.end = rows.start + count;
        }
        rows
    }

    /// The first of these rows as far as they need not be judged cell by cell.
    fn clean(&self, state: &BlockState, rows: Range<usize>) -> Range<usize> {
        let Some(unclean) = &state.unclean else { return rows };
        if self.reverse {
            let from = rows.clone().rev().find(|row| unclean.value(*row)).map_or(rows.start, |row| row + 1);
            return from..rows.end;
        }
        let to = unclean.slice(rows.start, rows.len()).set_indices().next().map_or(rows.end, |at| rows.start + at);
        rows.start..to
    }

    /// The first row, joined from all sources that have it; `None` if none has anything of it, and of what follows.
    async fn row(&mut self, first: usize) -> Result<Option<RawRow>> {
        let Some(key) = self.heads[first].key(self.reverse).map(<[u8]>::to_vec) else { return Ok(None) };
        let mut row = RawRow { key: key.into(), ..RawRow::default() };
        for head in &mut self.heads {
            if head.key(self.reverse) == Some(&row.key)
                && let Some(more) = head.take_row(&row.key).await?
            {
                row.join(more);
            }
        }
        row.covers.extend_from_slice(self.covers.of(&row.key));
        Ok(Some(row))
    }
}

impl<R: Deref<Target = Reader> + Clone + Debug + Send + Sync + 'static> Head<R> {
    /// Finds the needed columns in an SSTable's dictionary, and what comes first; false if there is nothing.
    async fn start(&mut self, all: &All<R>, covers: &Covers) -> Result<bool> {
        if let Some(reader) = self.source.sstable() {
            let reader = reader.clone();
            if let Some(begins) = self.source.begins().filter(|_| all.goes_on) {
                let partitions = begin(reader.clone(), begins).await?;
                self.source.begin_with(partitions);
            }
            let (shape, meta) = (&all.shape, reader.meta().await?);
            let table = shape.projection.table();
            let binding = Arc::new(Binding::new(&shape.needs, &shape.window.wanted, meta, table, all.now));
            let skip = all.others.as_ref().map(|sources| Others::of(sources, reader.entry(), times_are_of_keys(table)));
            if let Some(others) = skip {
                let (shape, binding, metrics) = (shape.clone(), binding.clone(), all.metrics.clone());
                self.source.set_skip(Arc::new(move |entry, next_key| {
                    let skip = !may_pass(&shape, &binding, entry) && others.are_apart(entry, next_key);
                    metrics.blocks_skipped.add(u64::from(skip));
                    skip
                }));
            }
            self.source.set_prefetch(read_ahead(reader.clone(), shape, &binding, all.fill_cache), all.goes_on);
            self.binding = Some(binding);
        }
        self.settle(all, covers).await
    }

    /// Finds out what comes next; false at the end.
    async fn settle(&mut self, all: &All<R>, covers: &Covers) -> Result<bool> {
        let Some(window) = self.source.window().await? else {
            let row = self.source.next().await?;
            return Ok(row.map(|row| self.next = Next::Row(row)).is_some());
        };
        if !self.at.as_ref().is_some_and(|at| Arc::ptr_eq(&at.state.block, &window.block)) {
            let (Some(reader), Some(binding)) = (self.source.sstable(), &self.binding) else { return Ok(false) };
            let ahead = Arc::new(self.source.pages_of(&window.block));
            let wide = Wide { reader: reader.clone(), fill_cache: all.fill_cache, ahead };
            let state = BlockState::new(all.shape.clone(), window.block, binding.clone(), (&window.bounds, covers), &wide).await?;
            self.at = Some(At { state: Arc::new(state), wide });
        }
        self.next = Next::Rows(window.rows);
        Ok(true)
    }

    fn key(&self, reverse: bool) -> Option<&[u8]> {
        match &self.next {
            Next::Unknown => None,
            Next::Row(row) => Some(&row.key),
            Next::Rows(rows) => {
                let row = if reverse { rows.end.checked_sub(1)? } else { rows.start };
                self.at.as_ref().map(|at| at.state.block.key(row))
            }
        }
    }

    /// What the source has of the row that comes next.
    async fn take_row(&mut self, key: &[u8]) -> Result<Option<RawRow>> {
        let row = match std::mem::replace(&mut self.next, Next::Unknown) {
            Next::Row(row) => return Ok(Some(row)),
            _ => self.source.next().await?,
        };
        match row {
            Some(row) if row.key == key => Ok(Some(row)),
            // Nothing of that row was wanted: this is a later one.
            Some(row) => {
                self.next = Next::Row(row);
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

/// Whether every row has an event time, and its key says which.
fn times_are_of_keys(table: &Table) -> bool {
    let part = table.time_column.as_ref().and_then(|name| table.key_part(name));
    part.is_some_and(|(_, part)| !part.codec.nullable)
}

/// The first of a block's rows that come before `limit` in the scan's direction.
fn before(block: &ColumnarBlock, rows: &Range<usize>, limit: Option<&[u8]>, reverse: bool) -> Range<usize> {
    let count = block.count_before(rows, limit, reverse);
    if reverse { rows.end - count..rows.end } else { rows.start..rows.start + count }
}
