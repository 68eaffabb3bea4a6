//! Writing an SSTable: rows in, in key order; one object out.

use super::block::{BlockInput, WideRun, encode_block};
use super::cache::Partition;
use super::filter::{FILTER_INDEX_MAGIC, FilterBuilder};
use super::footer::{Footer, Place};
use super::index::{BlockKind, Bounds, IndexEntry, PARTITION_ENTRIES, PARTITION_MAGIC, PartitionEntry, TOP_MAGIC, TopIndex};
use super::layout::Layout;
use super::names::{Names, Places};
use super::page::PageHead;
use super::properties::{DICTIONARY_MAGIC, META_FORMAT, PROPERTIES_MAGIC, Properties};
use super::range_deletes::{RANGE_DELETES_MAGIC, RangeDelete, span};
use super::reader::Meta;
use super::section::{FullBlock, SectionWriter, seqs_of};
use super::stripe::{Plan, Stripe};
use super::upload::Upload;
use super::warm::{Fresh, Warm, Warming};
use crate::format::{SstableName, names};
use crate::memtable::Entry;
use crate::raw::RawRow;
use bytes::Bytes;
use common::envelope::{self, Magic};
use common::ids::Seq;
use common::key::KeyRange;
use common::store::SharedStore;
use common::{Error, Result};
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;

/// A finished SSTable.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) name: SstableName,
    pub(crate) size: u64,
    pub(crate) properties: Properties,
    /// What its reader begins with.
    pub(crate) fresh: Option<Arc<Fresh>>,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Writer {
    name: SstableName,
    upload: Upload,
    layout: Arc<Layout>,
    names: Names,
    /// Of the rows that come encoded.
    places: Places,
    stripe: Stripe,
    /// Rows before the stripe.
    ordinal: u64,
    cells: SectionWriter,
    cell_index: Vec<IndexEntry>,
    deletes: SectionWriter,
    delete_index: Vec<IndexEntry>,
    range_deletes: Vec<RangeDelete>,
    filter: FilterBuilder,
    /// Of the rows with cells.
    last_key: Vec<u8>,
    properties: Properties,
    warming: Option<Warming>,
}

impl Writer {
    pub(crate) fn new(store: SharedStore, name: SstableName, layout: Arc<Layout>) -> Self {
        let Bounds { timestamps, seqs } = Bounds::NONE;
        let properties = Properties {
            name,
            puts: 0,
            deletes: 0,
            rows: 0,
            bytes: 0,
            keys: None,
            delete_keys: None,
            range_deletes: None,
            seqs,
            delete_seqs: None,
            timestamps,
            event_times: None,
            families: Vec::new(),
        };
        Self {
            name,
            upload: Upload::new(store, names::sstable(&name)),
            names: Names::new(),
            places: Places::default(),
            stripe: Stripe::default(),
            ordinal: 0,
            cells: SectionWriter::new(BlockKind::Cells, layout.block_bytes),
            cell_index: Vec::new(),
            deletes: SectionWriter::new(BlockKind::Deletes, layout.block_bytes),
            delete_index: Vec::new(),
            range_deletes: Vec::new(),
            filter: FilterBuilder::default(),
            last_key: Vec::new(),
            properties,
            warming: None,
            layout,
        }
    }

    /// Leaves what it writes in the caches.
    pub(crate) fn warming(self, warm: Option<Warm>) -> Self {
        let warming = warm.map(|warm| Warming::new(warm, self.name));
        Self { warming, ..self }
    }

    /// Bytes written so far; what waits for a stripe to be full counts as it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.upload.offset() + self.stripe.bytes() as u64
    }

    /// Bytes of rows that it holds in memory, about.
    pub(crate) fn held(&self) -> usize {
        self.stripe.bytes() + self.upload.held()
    }

    /// Adds a row; keys must rise, cells be in order.
    pub(crate) async fn add(&mut self, row: &RawRow) -> Result<()> {
        let bytes = row.bytes();
        self.count(row, bytes)?;
        self.add_deletes(row).await?;
        if row.cells.is_empty() {
            return Ok(());
        }
        if !self.layout.is_small(row.cells.len(), bytes) {
            return self.add_cells(row).await;
        }
        self.end_cells().await?;
        self.stripe.add(row, &mut self.names, &self.layout);
        self.write_full_stripe().await
    }

    /// Adds a [plain](crate::format::RowRef::is_plain) and [small](Layout::is_small) row of so many bytes; keys must rise.
    pub(crate) async fn add_plain(&mut self, entry: &Entry, bytes: usize) -> Result<()> {
        let row = entry.row();
        self.count_cells(row.key(), row.cell_count())?;
        self.properties.bytes += bytes as u64;
        self.end_cells().await?;
        self.places.turn(entry.columns());
        self.stripe.add_plain(&row, entry.seq, (&mut self.names, &mut self.places), &self.layout);
        self.write_full_stripe().await
    }

    /// Writes what is left of rows too large for columnar blocks.
    async fn end_cells(&mut self) -> Result<()> {
        match self.cells.finish_block() {
            Some(block) => self.write_cells(block).await,
            None => Ok(()),
        }
    }

    async fn write_full_stripe(&mut self) -> Result<()> {
        if self.stripe.bytes() >= self.layout.stripe_bytes { self.write_stripe().await } else { Ok(()) }
    }

    /// Adds a delete of all rows of a range, in any order.
    pub(crate) fn add_range_delete(&mut self, range: KeyRange, seq: Seq) {
        self.properties.deletes += 1;
        self.properties.bytes += RangeDelete::weight(&range) as u64;
        self.range_deletes.push(RangeDelete { range, seq });
    }

    /// A row too large for a columnar block.
    async fn add_cells(&mut self, row: &RawRow) -> Result<()> {
        self.write_stripe().await?;
        self.names.begin_row();
        let mut before: Option<(usize, Option<u32>)> = None;
        for (i, cell) in row.cells.iter().enumerate() {
            let column = match before {
                Some((b, column)) if row.cells[b].same_column(cell) => column,
                _ => self.names.place(cell.family, &cell.qualifier, &self.layout),
            };
            before = Some((i, column));
            column.into_iter().for_each(|place| self.names.count(place, cell.value.len()));
            if let Some(block) = self.cells.put_cell((&row.key, self.ordinal), i > 0, cell, column) {
                self.write_cells(block).await?;
            }
        }
        self.cells.end_row(&row.key);
        self.ordinal += 1;
        Ok(())
    }

    async fn add_deletes(&mut self, row: &RawRow) -> Result<()> {
        for (i, delete) in row.deletes.iter().enumerate() {
            if let Some(block) = self.deletes.put_delete(&row.key, i > 0, delete) {
                self.write_deletes(block).await?;
            }
        }
        self.deletes.end_row(&row.key);
        Ok(())
    }

    fn count(&mut self, row: &RawRow, bytes: usize) -> Result<()> {
        if !row.cells.is_empty() {
            self.count_cells(&row.key, row.cells.len())?;
        }
        let p = &mut self.properties;
        if !row.deletes.is_empty() {
            match &mut p.delete_keys {
                Some((_, last)) => *last = row.key.clone(),
                None => p.delete_keys = Some((row.key.clone(), row.key.clone())),
            }
        }
        p.deletes += row.deletes.len() as u64;
        p.bytes += bytes as u64;
        Ok(())
    }

    fn count_cells(&mut self, key: &[u8], cells: usize) -> Result<()> {
        self.filter.add_row(key, self.layout.prefix_len(key))?;
        let p = &mut self.properties;
        p.rows += 1;
        p.puts += cells as u64;
        if p.keys.is_none() {
            let key = Bytes::copy_from_slice(key);
            p.keys = Some((key.clone(), key));
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    async fn write_cells(&mut self, block: FullBlock) -> Result<()> {
        let entry = self.write_block(block).await?;
        self.cell_index.push(entry);
        Ok(())
    }

    async fn write_deletes(&mut self, block: FullBlock) -> Result<()> {
        let entry = self.write_block(block).await?;
        self.delete_index.push(entry);
        Ok(())
    }

    async fn write_block(&mut self, block: FullBlock) -> Result<IndexEntry> {
        let mut entry = block.entry;
        entry.offset = self.upload.offset();
        self.warming.iter().for_each(|w| w.block(entry.offset, &[&block.page]));
        self.upload.write(&block.page).await?;
        Ok(entry)
    }

    /// Writes what was gathered: each wide column, then the blocks, which say where its pages lie.
    async fn write_stripe(&mut self) -> Result<()> {
        if self.stripe.rows() == 0 {
            return Ok(());
        }
        let mut stripe = std::mem::take(&mut self.stripe);
        let plan = stripe.plan(&self.names, &self.layout);
        let mut runs: Vec<Vec<Vec<WideRun>>> = vec![vec![Vec::new(); stripe.columns.len()]; plan.blocks.len()];
        for number in plan.order.iter().copied().filter(|number| plan.wide[*number]) {
            for (block, rows) in plan.blocks.iter().enumerate() {
                runs[block][number] = self.write_wide(&stripe, number, rows).await?;
            }
        }
        for (rows, wide) in plan.blocks.iter().zip(&runs) {
            self.write_columnar(&stripe, &plan, rows.clone(), wide).await?;
        }
        self.ordinal += stripe.rows() as u64;
        // The next one takes its memory over.
        stripe.clear();
        self.stripe = stripe;
        Ok(())
    }

    /// Writes the pages of a wide column for the rows of one block.
    async fn write_wide(&mut self, stripe: &Stripe, number: usize, rows: &Range<usize>) -> Result<Vec<WideRun>> {
        let cells = &stripe.columns[number].cells;
        let entries = cells.entries(rows);
        let mut runs = Vec::new();
        let (mut from, mut entry, mut bytes) = (rows.start, entries.start, 0);
        for i in entries.clone() {
            bytes += cells.values.len_of(i);
            let last = i + 1 == entries.end;
            if bytes >= self.layout.wide_block_bytes || last {
                let to = if last { rows.end } else { cells.rows[i] as usize + 1 };
                let (mut page, mut stored) = (Vec::new(), Vec::new());
                cells.encode(&(from..to), entry..i + 1, &mut page);
                let head = PageHead::pack(&page, &mut stored);
                runs.push(WideRun { rows: to - from, offset: self.upload.offset(), head });
                self.warming.iter().for_each(|w| w.page(self.upload.offset(), head, &stored, to - from));
                self.upload.write(&stored).await?;
                (from, entry, bytes) = (to, i + 1, 0);
            }
        }
        Ok(runs)
    }

    async fn write_columnar(&mut self, stripe: &Stripe, plan: &Plan, rows: Range<usize>, wide: &[Vec<WideRun>]) -> Result<()> {
        let (offset, first_ordinal) = (self.upload.offset(), self.ordinal + rows.start as u64);
        let block = encode_block(&BlockInput { stripe, plan, names: &self.names, rows, first_ordinal, wide, offset });
        self.warming.iter().for_each(|w| w.block(offset, &[&block.header, &block.pages]));
        self.upload.write(&block.header).await?;
        self.upload.write(&block.pages).await?;
        self.cell_index.push(block.entry);
        // A stripe takes tens of milliseconds to encode: others get their turn.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Writes what is left and makes the object durable.
    pub(crate) async fn finish(mut self) -> Result<Finished> {
        self.write_stripe().await?;
        self.end_cells().await?;
        if let Some(block) = self.deletes.finish_block() {
            self.write_deletes(block).await?;
        }
        self.summarize();
        let range_deletes = std::mem::take(&mut self.range_deletes);
        let meta = self.write_meta(&range_deletes).await?;
        self.upload.write(&meta.footer.encode()).await?;
        let size = self.upload.finish().await?;
        let fresh = self.warming.map(|w| Arc::new(w.finish(meta, range_deletes)));
        Ok(Finished { name: self.name, size, properties: self.properties, fresh })
    }

    /// Gives the object up.
    pub(crate) async fn abort(self) {
        self.upload.abort().await;
    }

    fn summarize(&mut self) {
        let p = &mut self.properties;
        if let Some((_, last)) = &mut p.keys {
            *last = std::mem::take(&mut self.last_key).into();
        }
        let mut bounds = Bounds::NONE;
        self.cell_index.iter().for_each(|e| bounds.join(&e.bounds));
        let mut deletes = Bounds::NONE;
        if let Some(seqs) = seqs_of(&self.delete_index) {
            deletes.seqs = seqs;
        }
        self.range_deletes.iter().for_each(|d| deletes.see_seq(d.seq));
        p.delete_seqs = (p.deletes > 0).then_some(deletes.seqs);
        p.range_deletes = span(&self.range_deletes);
        bounds.join(&deletes);
        (p.timestamps, p.seqs) = (bounds.timestamps, bounds.seqs);
        let listed = self.names.dictionary.columns.iter().map(|c| c.family);
        let spans = self.cell_index.iter().filter_map(|e| e.columns.as_ref()).flat_map(|c| [c.first.0, c.last.0]);
        p.families = listed.chain(spans).collect();
        p.families.sort_unstable();
        p.families.dedup();
    }

    async fn write_meta(&mut self, range_deletes: &Vec<RangeDelete>) -> Result<Meta> {
        let range_deletes = self.write_record(RANGE_DELETES_MAGIC, range_deletes).await?;
        let from = self.upload.offset();
        let (cells, deletes) = (std::mem::take(&mut self.cell_index), std::mem::take(&mut self.delete_index));
        let top = TopIndex { cells: self.write_partitions(cells).await?, deletes: self.write_partitions(deletes).await? };
        let partitions = Place { offset: from, length: length_of(self.upload.offset() - from)? };
        let mut filter = std::mem::take(&mut self.filter).finish()?;
        let from = self.upload.offset();
        filter.place(from);
        if let Some(warming) = &mut self.warming {
            for (offset, partition) in filter.decoded() {
                let partition = Partition::Filter(Arc::new(partition?));
                warming.partition(offset, || partition);
            }
        }
        self.upload.write(&filter.partitions).await?;
        let filters = Place { offset: from, length: length_of(self.upload.offset() - from)? };
        let (dictionary, properties) = (self.names.dictionary.clone(), self.properties.clone());
        let footer = Footer {
            range_deletes,
            partitions,
            filters,
            filter_index: self.write_record(FILTER_INDEX_MAGIC, &filter.index).await?,
            top: self.write_record(TOP_MAGIC, &top).await?,
            dictionary: self.write_record(DICTIONARY_MAGIC, &dictionary).await?,
            properties: self.write_record(PROPERTIES_MAGIC, &properties).await?,
        };
        Ok(Meta { dictionary: dictionary.shared(), properties, filter: filter.index, top, footer })
    }

    async fn write_partitions(&mut self, entries: Vec<IndexEntry>) -> Result<Vec<PartitionEntry>> {
        let mut top = Vec::new();
        for chunk in entries.chunks(PARTITION_ENTRIES) {
            let mut bounds = Bounds::NONE;
            chunk.iter().for_each(|e| bounds.join(&e.bounds));
            let Place { offset, length } = self.write_record(PARTITION_MAGIC, &chunk).await?;
            if let Some(warming) = &mut self.warming {
                warming.partition(offset, || Partition::Index(Arc::new(chunk.to_vec())));
            }
            let (first_key, entries) = (chunk[0].first_key.clone(), chunk.len() as u32);
            top.push(PartitionEntry { first_key, offset, length, entries, bounds });
        }
        Ok(top)
    }

    async fn write_record<T: Serialize>(&mut self, magic: Magic, record: &T) -> Result<Place> {
        let offset = self.upload.offset();
        let bytes = envelope::encode(magic, META_FORMAT, record)?;
        self.upload.write(&bytes).await?;
        Ok(Place { offset, length: length_of(bytes.len() as u64)? })
    }
}

fn length_of(bytes: u64) -> Result<u32> {
    u32::try_from(bytes).map_err(|_| Error::internal(format!("a section of an SSTable has {bytes} bytes, above 4 GiB")))
}
