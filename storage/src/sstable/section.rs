//! Cutting cells or deletes of sorted rows into keyed blocks; a row may span several.

use super::block::items::{put_cell, put_delete};
use super::block::keyed::{Base, BlockBuilder};
use super::index::{BlockKind, Bounds, ColumnSpan, IndexEntry};
use super::page;
use crate::raw::{RawCell, RawDelete};
use bytes::Bytes;
use common::ids::{FamilyId, Seq};
use common::time::Micros;

/// A block and its index entry, whose offset is not yet known.
#[derive(Debug)]
pub(super) struct FullBlock {
    pub(super) entry: IndexEntry,
    pub(super) page: Vec<u8>,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct SectionWriter {
    kind: BlockKind,
    target: usize,
    builder: BlockBuilder,
    open: Option<Open>,
    /// The open row's items in the open block.
    body: Vec<u8>,
    last: Micros,
}

/// What is known of the open block.
#[derive(Debug)]
struct Open {
    first_key: Bytes,
    continues: bool,
    first_ordinal: u64,
    rows: u32,
    base: Base,
    bounds: Bounds,
    columns: Option<ColumnSpan>,
}

impl SectionWriter {
    pub(super) fn new(kind: BlockKind, target: usize) -> Self {
        Self { kind, target, builder: BlockBuilder::default(), open: None, body: Vec::new(), last: Micros(0) }
    }

    /// Adds a cell of the row `key`, the first if not `continues`; the block that it filled.
    pub(super) fn put_cell(
        &mut self,
        (key, ordinal): (&Bytes, u64),
        continues: bool,
        cell: &RawCell,
        column: Option<u32>,
    ) -> Option<FullBlock> {
        let base = self.begin((key, ordinal), continues, Base { seq: cell.seq, timestamp: cell.timestamp });
        put_cell(&mut self.body, cell, column, base.seq, self.last);
        self.last = cell.timestamp;
        if let Some(open) = &mut self.open {
            open.bounds.see(cell.timestamp.0, cell.seq.0);
            widen(&mut open.columns, cell);
        }
        self.cut(key)
    }

    pub(super) fn put_delete(&mut self, key: &Bytes, continues: bool, delete: &RawDelete) -> Option<FullBlock> {
        let base = self.begin((key, 0), continues, Base { seq: delete.seq, timestamp: Micros(0) });
        put_delete(&mut self.body, delete, base.seq);
        if let Some(open) = &mut self.open {
            open.bounds.see_seq(delete.seq);
        }
        self.cut(key)
    }

    fn begin(&mut self, (key, first_ordinal): (&Bytes, u64), continues: bool, base: Base) -> Base {
        if self.open.is_none() {
            self.builder.begin(base);
            let first_key = Bytes::copy_from_slice(key);
            self.open = Some(Open { first_key, continues, first_ordinal, rows: 0, base, bounds: Bounds::NONE, columns: None });
        }
        let base = self.open.as_ref().map_or(base, |open| open.base);
        if self.body.is_empty() {
            self.last = base.timestamp;
        }
        base
    }

    fn cut(&mut self, key: &[u8]) -> Option<FullBlock> {
        if self.builder.len() + self.body.len() < self.target {
            return None;
        }
        self.end_row(key);
        self.finish_block()
    }

    pub(super) fn end_row(&mut self, key: &[u8]) {
        if !self.body.is_empty() {
            self.builder.push(key, &self.body);
            self.body.clear();
            if let Some(open) = &mut self.open {
                open.rows += 1;
            }
        }
    }

    pub(super) fn finish_block(&mut self) -> Option<FullBlock> {
        let Open { first_key, continues, first_ordinal, rows, bounds, columns, .. } = self.open.take()?;
        let page = page::encode(&self.builder.finish());
        let length = page.len() as u32;
        let kind = self.kind;
        let entry = IndexEntry { first_key, kind, continues, offset: 0, length, rows, first_ordinal, bounds, columns, values: Vec::new() };
        Some(FullBlock { entry, page })
    }
}

fn widen(span: &mut Option<ColumnSpan>, cell: &RawCell) {
    let at = |column: &(FamilyId, Bytes)| (cell.family, &cell.qualifier).cmp(&(column.0, &column.1));
    // Blocks must not keep the buffers of requests.
    let column = || (cell.family, Bytes::copy_from_slice(&cell.qualifier));
    match span {
        None => *span = Some(ColumnSpan { first: column(), last: column() }),
        Some(span) if at(&span.first).is_lt() => span.first = column(),
        Some(span) if at(&span.last).is_gt() => span.last = column(),
        Some(_) => {}
    }
}

/// Lowest and highest seq of these blocks.
pub(super) fn seqs_of(index: &[IndexEntry]) -> Option<(Seq, Seq)> {
    let mut bounds = Bounds::NONE;
    index.iter().for_each(|e| bounds.join(&e.bounds));
    (!index.is_empty()).then_some(bounds.seqs)
}
