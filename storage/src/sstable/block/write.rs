//! A columnar block out of some rows of a stripe.

use super::super::encode::{encode_ints, encode_keys};
use super::super::index::{BlockKind, Bounds, IndexEntry};
use super::super::names::Names;
use super::super::page::PageHead;
use super::super::statistics::BlockBounds;
use super::super::stripe::{Plan, Spill, Stripe};
use super::columnar::{ColumnInfo, Overflow, OverflowCell, OverflowColumn};
use super::header::{Header, HeaderColumn, HeaderPages, WideRun};
use super::overflow;
use crate::format::CellKind;
use bytes::Bytes;
use common::ids::FamilyId;
use std::cmp::Reverse;
use std::ops::Range;

/// A column in fewer than one of so many rows of a block goes to the overflow.
const RARE: usize = 8;

/// See the module's page.
#[derive(Debug)]
pub(in crate::sstable) struct BlockInput<'a> {
    pub(in crate::sstable) stripe: &'a Stripe,
    pub(in crate::sstable) plan: &'a Plan,
    pub(in crate::sstable) names: &'a Names,
    pub(in crate::sstable) rows: Range<usize>,
    pub(in crate::sstable) first_ordinal: u64,
    /// The pages of each wide column for these rows, by column; empty for others.
    pub(in crate::sstable) wide: &'a [Vec<WideRun>],
    /// Where the block will begin.
    pub(in crate::sstable) offset: u64,
}

#[derive(Debug)]
pub(in crate::sstable) struct Encoded {
    pub(in crate::sstable) header: Vec<u8>,
    pub(in crate::sstable) pages: Vec<u8>,
    pub(in crate::sstable) entry: IndexEntry,
}

/// Encodes the block.
pub(in crate::sstable) fn encode_block(input: &BlockInput<'_>) -> Encoded {
    let mut writer = BlockWriter { input, pages: Vec::new(), scratch: Vec::new(), columns: Vec::new(), rare: Vec::new() };
    let rows_pages = writer.rows();
    for column in &input.plan.order {
        writer.column(*column);
    }
    let items = writer.items();
    let overflow = writer.overflow(&items);
    let values = writer.values(&items);
    let BlockWriter { pages, columns, .. } = writer;
    let header = Header { rows: input.rows.len(), first_ordinal: input.first_ordinal, rows_pages, columns, overflow };
    let header = header.encode(input.offset);
    let entry = IndexEntry {
        first_key: Bytes::copy_from_slice(input.stripe.key(input.rows.start)),
        kind: BlockKind::Columnar,
        continues: false,
        offset: input.offset,
        length: (header.len() + pages.len()) as u32,
        rows: input.rows.len() as u32,
        first_ordinal: input.first_ordinal,
        bounds: input.bounds(),
        columns: None,
        values,
    };
    Encoded { header, pages, entry }
}

/// A cell on its way into the overflow.
struct Item<'a> {
    row: u32,
    family: FamilyId,
    qualifier: &'a Bytes,
    column: OverflowColumn,
    timestamp: i64,
    seq: u64,
    kind: CellKind,
    value: Source,
}

#[derive(Clone, Copy)]
enum Source {
    Spilled(u32, u32),
    /// Of a column, by number.
    Entry(usize, usize),
}

impl BlockInput<'_> {
    fn spills(&self) -> &[Spill] {
        let at = |row: usize| self.stripe.spills.partition_point(|s| (s.row as usize) < row);
        &self.stripe.spills[at(self.rows.start)..at(self.rows.end)]
    }

    fn bounds(&self) -> Bounds {
        let mut bounds = Bounds::NONE;
        for row in self.rows.clone() {
            bounds.see(self.stripe.timestamps[row], self.stripe.seqs[row]);
        }
        for column in &self.stripe.columns {
            let e = &column.cells.exceptions;
            let at = |row: usize| e.rows.partition_point(|r| (*r as usize) < row);
            (at(self.rows.start)..at(self.rows.end)).for_each(|i| bounds.see(e.timestamps[i], e.seqs[i]));
        }
        self.spills().iter().for_each(|s| bounds.see(s.timestamp, s.seq));
        bounds
    }
}

struct BlockWriter<'a> {
    input: &'a BlockInput<'a>,
    pages: Vec<u8>,
    scratch: Vec<u8>,
    columns: Vec<HeaderColumn<'a>>,
    /// Columns that go to the overflow, with their entries.
    rare: Vec<(usize, Range<usize>)>,
}

impl<'a> BlockWriter<'a> {
    fn page(&mut self) -> PageHead {
        let head = PageHead::pack(&self.scratch, &mut self.pages);
        self.scratch.clear();
        head
    }

    fn rows(&mut self) -> [PageHead; 3] {
        let (stripe, rows) = (self.input.stripe, self.input.rows.clone());
        let keys: Vec<&[u8]> = rows.clone().map(|row| stripe.key(row)).collect();
        encode_keys(&keys, &mut self.scratch);
        let keys = self.page();
        encode_ints(&stripe.timestamps[rows.clone()], &mut self.scratch);
        let timestamps = self.page();
        let seqs: Vec<i64> = stripe.seqs[rows].iter().map(|seq| *seq as i64).collect();
        encode_ints(&seqs, &mut self.scratch);
        [keys, timestamps, self.page()]
    }

    fn column(&mut self, number: usize) {
        let input = self.input;
        let column = &input.stripe.columns[number];
        let entries = column.cells.entries(&input.rows);
        if entries.is_empty() {
            return;
        }
        let dense = entries.len() == input.rows.len();
        let mut info = ColumnInfo { place: column.place, dense, exceptions: false };
        if input.plan.wide[number] {
            let e = &column.cells.exceptions.rows;
            info.exceptions = e.iter().any(|row| input.rows.contains(&(*row as usize)));
            self.columns.push(HeaderColumn { info, pages: HeaderPages::Wide(&input.wide[number]) });
        } else if entries.len() * RARE < input.rows.len() {
            self.rare.push((number, entries));
        } else {
            info.exceptions = column.cells.encode(&input.rows, entries, &mut self.scratch);
            let head = self.page();
            self.columns.push(HeaderColumn { info, pages: HeaderPages::Narrow(head) });
        }
    }

    /// The cells of the overflow, in order.
    fn items(&self) -> Vec<Item<'a>> {
        let input = self.input;
        let mut items: Vec<Item<'a>> = input.spills().iter().map(|s| self.spilled(s)).collect();
        for (number, entries) in &self.rare {
            let column = &input.stripe.columns[*number];
            let (family, qualifier) = input.names.name(column.place);
            for entry in entries.clone() {
                let row = column.cells.rows[entry];
                let own = (input.stripe.timestamps[row as usize], input.stripe.seqs[row as usize]);
                let (timestamp, seq) = column.cells.exception(row).unwrap_or(own);
                let (column, value) = (OverflowColumn::Listed(column.place), Source::Entry(*number, entry));
                let row = row - input.rows.start as u32;
                items.push(Item { row, family, qualifier, column, timestamp, seq, kind: CellKind::Value, value });
            }
        }
        if !self.rare.is_empty() {
            items.sort_by_cached_key(|i| (i.row, i.family, i.qualifier, Reverse(i.timestamp), Reverse(i.seq)));
        }
        items
    }

    fn spilled(&self, s: &Spill) -> Item<'a> {
        let input = self.input;
        let (family, qualifier) = match s.column {
            OverflowColumn::Listed(place) => input.names.name(place),
            OverflowColumn::Named(name) => (input.stripe.names[name as usize].0, &input.stripe.names[name as usize].1),
        };
        let row = s.row - input.rows.start as u32;
        let value = Source::Spilled(s.value.0, s.value.1);
        Item { row, family, qualifier, column: s.column, timestamp: s.timestamp, seq: s.seq, kind: s.kind, value }
    }

    fn put(&self, value: Source, out: &mut Vec<u8>) {
        match value {
            Source::Spilled(from, to) => out.extend_from_slice(&self.input.stripe.spilled[from as usize..to as usize]),
            Source::Entry(column, entry) => self.input.stripe.columns[column].cells.values.put(entry, out),
        }
    }

    fn overflow(&mut self, items: &[Item<'_>]) -> Option<PageHead> {
        if items.is_empty() {
            return None;
        }
        let (mut out, mut data) = (Overflow::default(), Vec::new());
        for item in items {
            if out.rows.last() != Some(&item.row) {
                out.rows.push(item.row);
                out.ends.push(out.cells.len() as u32);
            }
            let column = match item.column {
                OverflowColumn::Listed(_) => item.column,
                OverflowColumn::Named(_) => OverflowColumn::Named(name_of(&mut out.names, item)),
            };
            let from = data.len() as u32;
            self.put(item.value, &mut data);
            let value = (from, data.len() as u32);
            out.cells.push(OverflowCell { column, timestamp: item.timestamp, seq: item.seq, kind: item.kind, value });
            if let Some(end) = out.ends.last_mut() {
                *end = out.cells.len() as u32;
            }
        }
        let (stripe, rows) = (self.input.stripe, self.input.rows.clone());
        overflow::encode(&out, &data, &stripe.timestamps[rows.clone()], &stripe.seqs[rows], &mut self.scratch);
        Some(self.page())
    }

    fn values(&self, items: &[Item<'_>]) -> Vec<super::super::index::ColumnBounds> {
        let input = self.input;
        let mut bounds = BlockBounds::default();
        for column in &self.columns {
            let place = column.info.place;
            if let (Some(kind), Some(at)) = (input.names.kind(place), input.stripe.column(place)) {
                let cells = &input.stripe.columns[at].cells;
                bounds.see_page(place, kind, &cells.values, cells.entries(&input.rows));
            }
        }
        let (mut before, mut scratch) = (None, Vec::new());
        for item in items {
            let OverflowColumn::Listed(place) = item.column else { continue };
            let Some(kind) = input.names.kind(place) else { continue };
            let here = (item.row, place);
            let new = before != Some(here) && !self.in_page(place, item.row);
            before = Some(here);
            scratch.clear();
            self.put(item.value, &mut scratch);
            // What is to be combined with other cells may become any value.
            let value = (item.kind == CellKind::Value).then_some(scratch.as_slice());
            bounds.see_cell(place, kind, value, new);
        }
        bounds.finish(input.rows.len())
    }

    fn in_page(&self, place: u32, row: u32) -> bool {
        let of_page = self.columns.iter().any(|c| c.info.place == place);
        let row = row + self.input.rows.start as u32;
        let cells = self.input.stripe.column(place).map(|at| &self.input.stripe.columns[at].cells);
        of_page && cells.is_some_and(|cells| cells.rows.binary_search(&row).is_ok())
    }
}

fn name_of(names: &mut Vec<(FamilyId, Bytes)>, item: &Item<'_>) -> u32 {
    let known = names.last().is_some_and(|(f, q)| *f == item.family && q == item.qualifier);
    if !known {
        names.push((item.family, item.qualifier.clone()));
    }
    names.len() as u32 - 1
}
