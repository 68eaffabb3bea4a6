//! Writing an SSTable: rows in, in key order; one object out.

use super::block::items::{put_cell, put_delete};
use super::block::keyed::{Base, BlockBuilder};
use super::filter::whole::{FILTER_MAGIC, FilterBuilder};
use super::footer::{Footer, Place};
use super::index::{Bounds, IndexEntry, PARTITION_ENTRIES, PARTITION_MAGIC, TOP_MAGIC, TopIndex};
use super::page;
use super::properties::{ColumnStats, DICTIONARY_MAGIC, Dictionary, MAX_COLUMNS, META_FORMAT, PROPERTIES_MAGIC, Properties};
use super::range_deletes::RangeDelete;
use super::upload::Upload;
use crate::format::{SstableName, names};
use crate::raw::{RawCell, RawRow};
use bytes::Bytes;
use common::envelope::{self, Magic};
use common::ids::{FamilyId, Seq};
use common::key::KeyRange;
use common::store::SharedStore;
use common::time::Micros;
use common::{Error, Result};
use serde::Serialize;
use std::collections::HashMap;

/// A finished SSTable.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) name: SstableName,
    pub(crate) size: u64,
    pub(crate) properties: Properties,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Writer {
    name: SstableName,
    upload: Upload,
    cells: SectionWriter,
    cell_index: Vec<IndexEntry>,
    deletes: SectionWriter,
    /// Delete blocks wait for the last cell block.
    delete_blocks: Vec<FullBlock>,
    dictionary: Dictionary,
    places: HashMap<(FamilyId, Bytes), u32>,
    filter: FilterBuilder,
    properties: Properties,
}

impl Writer {
    pub(crate) fn new(store: SharedStore, name: SstableName, block_bytes: usize) -> Self {
        let Bounds { timestamps, seqs } = Bounds::NONE;
        Self {
            name,
            upload: Upload::new(store, names::sstable(&name)),
            cells: SectionWriter::new(block_bytes),
            cell_index: Vec::new(),
            deletes: SectionWriter::new(block_bytes),
            delete_blocks: Vec::new(),
            dictionary: Dictionary::default(),
            places: HashMap::new(),
            filter: FilterBuilder::default(),
            properties: Properties {
                name,
                puts: 0,
                deletes: 0,
                rows: 0,
                bytes: 0,
                keys: None,
                delete_keys: None,
                seqs,
                timestamps,
                event_times: None,
                range_deletes: Vec::new(),
            },
        }
    }

    /// Bytes written so far, without what waits for a block to be full.
    pub(crate) fn bytes(&self) -> u64 {
        self.upload.offset()
    }

    /// Adds a row-range delete.
    pub(crate) fn add_range_delete(&mut self, range: KeyRange, seq: Seq) {
        self.properties.deletes += 1;
        self.properties.range_deletes.push(RangeDelete { range, seq });
    }

    /// Adds a row; keys must rise, cells be in order.
    pub(crate) async fn add(&mut self, row: &RawRow) -> Result<()> {
        self.count(row);
        self.add_deletes(row);
        for (i, cell) in row.cells.iter().enumerate() {
            let column = self.place(cell);
            let full = self.cells.put(&row.key, i > 0, (cell.seq, Some(cell.timestamp)), |out, base| {
                put_cell(out, cell, column, base.seq, base.timestamp);
            });
            if let Some(block) = full {
                self.write_cell_block(block).await?;
            }
        }
        self.cells.end_row(&row.key);
        Ok(())
    }

    fn add_deletes(&mut self, row: &RawRow) {
        for (i, delete) in row.deletes.iter().enumerate() {
            let full = self.deletes.put(&row.key, i > 0, (delete.seq, None), |out, base| put_delete(out, delete, base.seq));
            self.delete_blocks.extend(full);
        }
        self.deletes.end_row(&row.key);
    }

    fn count(&mut self, row: &RawRow) {
        let p = &mut self.properties;
        let widen = |keys: &mut Option<(Bytes, Bytes)>| match keys {
            Some((_, last)) => *last = row.key.clone(),
            None => *keys = Some((row.key.clone(), row.key.clone())),
        };
        if !row.cells.is_empty() {
            self.filter.add(&row.key);
            p.rows += 1;
            widen(&mut p.keys);
        }
        if !row.deletes.is_empty() {
            widen(&mut p.delete_keys);
        }
        p.puts += row.cells.len() as u64;
        p.deletes += row.deletes.len() as u64;
        p.bytes += row.bytes() as u64;
    }

    /// A cell's column in the dictionary, added if there is room.
    fn place(&mut self, cell: &RawCell) -> Option<u32> {
        let column = (cell.family, cell.qualifier.clone());
        let place = match self.places.get(&column) {
            Some(place) => *place,
            None if self.places.len() >= MAX_COLUMNS => return None,
            None => {
                let place = self.dictionary.columns.len() as u32;
                // Keys and values share their buffers with whole requests or blocks; a dictionary must not.
                let qualifier = Bytes::copy_from_slice(&cell.qualifier);
                self.dictionary.columns.push(ColumnStats { family: cell.family, qualifier: qualifier.clone(), cells: 0, bytes: 0 });
                self.places.insert((cell.family, qualifier), place);
                place
            }
        };
        let stats = &mut self.dictionary.columns[place as usize];
        stats.cells += 1;
        stats.bytes += cell.value.len() as u64;
        Some(place)
    }

    async fn write_cell_block(&mut self, block: FullBlock) -> Result<()> {
        let entry = self.write_block(block).await?;
        self.cell_index.push(entry);
        Ok(())
    }

    async fn write_block(&mut self, block: FullBlock) -> Result<IndexEntry> {
        let mut entry = block.entry;
        entry.offset = self.upload.offset();
        self.upload.write(&block.page).await?;
        Ok(entry)
    }

    /// Writes what is left and makes the object durable.
    pub(crate) async fn finish(mut self) -> Result<Finished> {
        if let Some(block) = self.cells.finish_block() {
            self.write_cell_block(block).await?;
        }
        let last = self.deletes.finish_block();
        self.delete_blocks.extend(last);
        let mut delete_index = Vec::new();
        for block in std::mem::take(&mut self.delete_blocks) {
            delete_index.push(self.write_block(block).await?);
        }
        self.properties_of(&delete_index);
        let footer = self.write_meta(&delete_index).await?;
        self.upload.write(&footer.encode()).await?;
        let size = self.upload.finish().await?;
        Ok(Finished { name: self.name, size, properties: self.properties })
    }

    /// Gives the object up.
    pub(crate) async fn abort(self) {
        self.upload.abort().await;
    }

    fn properties_of(&mut self, delete_index: &[IndexEntry]) {
        let mut bounds = Bounds::NONE;
        self.cell_index.iter().chain(delete_index).for_each(|e| bounds.join(e.timestamps, e.seqs));
        (self.properties.timestamps, self.properties.seqs) = (bounds.timestamps, bounds.seqs);
        for RangeDelete { seq, .. } in &self.properties.range_deletes {
            let seqs = &mut self.properties.seqs;
            *seqs = (seqs.0.min(*seq), seqs.1.max(*seq));
        }
    }

    async fn write_meta(&mut self, delete_index: &[IndexEntry]) -> Result<Footer> {
        let from = self.upload.offset();
        let cell_index = std::mem::take(&mut self.cell_index);
        let top = TopIndex { cells: self.write_partitions(&cell_index).await?, deletes: self.write_partitions(delete_index).await? };
        let partitions = Place { offset: from, length: length_of(self.upload.offset() - from)? };
        let filter = std::mem::take(&mut self.filter).finish().map_err(Error::internal)?;
        Ok(Footer {
            partitions,
            top: self.write_record(TOP_MAGIC, &top).await?,
            dictionary: self.write_record(DICTIONARY_MAGIC, &self.dictionary.clone()).await?,
            filter: self.write_record(FILTER_MAGIC, &filter).await?,
            properties: self.write_record(PROPERTIES_MAGIC, &self.properties.clone()).await?,
        })
    }

    async fn write_partitions(&mut self, entries: &[IndexEntry]) -> Result<Vec<IndexEntry>> {
        let mut top = Vec::new();
        for chunk in entries.chunks(PARTITION_ENTRIES) {
            let mut bounds = Bounds::NONE;
            chunk.iter().for_each(|e| bounds.join(e.timestamps, e.seqs));
            let place = self.write_record(PARTITION_MAGIC, &chunk).await?;
            top.push(IndexEntry {
                first_key: chunk[0].first_key.clone(),
                continues: chunk[0].continues,
                offset: place.offset,
                length: place.length,
                timestamps: bounds.timestamps,
                seqs: bounds.seqs,
            });
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

/// A compressed block and its index entry, whose offset is not yet known.
#[derive(Debug)]
struct FullBlock {
    entry: IndexEntry,
    page: Vec<u8>,
}

/// Cuts one section into blocks.
#[derive(Debug)]
struct SectionWriter {
    target: usize,
    builder: BlockBuilder,
    /// First key of the open block, whether that row began earlier, and what the block is relative to.
    open: Option<(Bytes, bool, Base)>,
    /// The open row's items in the open block.
    body: Vec<u8>,
    last: Micros,
    bounds: Bounds,
}

impl SectionWriter {
    fn new(target: usize) -> Self {
        Self { target, builder: BlockBuilder::default(), open: None, body: Vec::new(), last: Micros(0), bounds: Bounds::NONE }
    }

    /// Adds an item of the row `key`; the block that it filled.
    fn put(
        &mut self,
        key: &Bytes,
        continues: bool,
        (seq, timestamp): (Seq, Option<Micros>),
        encode: impl FnOnce(&mut Vec<u8>, Base),
    ) -> Option<FullBlock> {
        let (_, _, base) = self.open.get_or_insert_with(|| {
            let base = Base { seq, timestamp: timestamp.unwrap_or_default() };
            self.builder.begin(base);
            (key.clone(), continues, base)
        });
        if self.body.is_empty() {
            self.last = base.timestamp;
        }
        encode(&mut self.body, Base { seq: base.seq, timestamp: self.last });
        self.bounds.see_seq(seq);
        if let Some(t) = timestamp {
            self.bounds.see_timestamp(t);
            self.last = t;
        }
        if self.builder.len() + self.body.len() < self.target {
            return None;
        }
        self.end_row(key);
        self.finish_block()
    }

    fn end_row(&mut self, key: &[u8]) {
        if !self.body.is_empty() {
            self.builder.push(key, &self.body);
            self.body.clear();
        }
    }

    fn finish_block(&mut self) -> Option<FullBlock> {
        let (first_key, continues, _) = self.open.take()?;
        let page = page::encode(&self.builder.finish());
        let Bounds { timestamps, seqs } = std::mem::replace(&mut self.bounds, Bounds::NONE);
        let entry = IndexEntry { first_key, continues, offset: 0, length: page.len() as u32, timestamps, seqs };
        Some(FullBlock { entry, page })
    }
}
