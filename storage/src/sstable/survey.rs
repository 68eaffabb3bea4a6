//! One SSTable as it is, for people: every block, page, partition and checksum read, and what it says of itself compared with
//! what it holds.

use super::block::Block;
use super::footer::{FOOTER_BYTES, Footer, Place};
use super::index::{Bounds, IndexEntry, PARTITION_ENTRIES, PartitionEntry};
use super::properties::{ColumnStats, META_FORMAT, PROPERTIES_MAGIC, Properties};
use super::reader::{Held, Need};
use super::tally::Tally;
use super::{BlockCache, BlockCursor, Meta, RangeDelete, Reader, ReaderContext, Section};
use crate::format::names;
use crate::raw::Scan;
use ::bytes::Bytes;
use common::ids::Seq;
use common::key::KeyRange;
use common::store::{SharedStore, failed};
use common::{Error, Result, envelope};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use std::ops::Range;
use std::sync::Arc;

/// Bytes and items of a cache that holds next to nothing: everything is read once.
const CACHE: (u64, usize) = (1 << 20, 64);

/// What an SSTable holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Sstable {
    /// Bytes of the object.
    pub size: u64,
    /// The sections that follow the blocks: name, offset, length in bytes.
    pub sections: Vec<(&'static str, u64, u32)>,
    /// What it says of itself.
    pub properties: Properties,
    /// Its columns in the order of their first cells.
    pub columns: Vec<ColumnStats>,
    /// Whether `columns` are all that it has.
    pub all_columns: bool,
    /// Index entries of its blocks of cells, in the order of keys.
    pub blocks: Vec<IndexEntry>,
    /// Index entries of its blocks of deletes, in the order of keys.
    pub delete_blocks: Vec<IndexEntry>,
    /// Its row-range deletes, each with its seq, in any order.
    pub range_deletes: Vec<(KeyRange, Seq)>,
    /// Number of partitions of its filter.
    pub filters: usize,
    /// Whether the filter knows prefixes of keys too.
    pub prefixes: bool,
}

impl Sstable {
    /// Reads and verifies a whole SSTable: checksums of everything, that all its bytes belong to something, the order of keys and
    /// cells, that the filter knows every row, that index, dictionary and properties say what is there. Bytes before encoding
    /// and event times are taken as they are said: what they are hangs on the table's schema.
    ///
    /// # Errors
    /// `Corrupt` with the offset of what is damaged.
    pub async fn read(bytes: Bytes) -> Result<Self> {
        let (footer, properties) = ends(&bytes)?;
        let size = bytes.len() as u64;
        let reader = Arc::new(open(bytes, &properties).await?);
        let meta = reader.meta().await?.clone();
        let blocks = index(&reader, &meta, Section::Cells).await?;
        let delete_blocks = index(&reader, &meta, Section::Deletes).await?;
        check_places(&reader, &footer, &meta, &blocks, &delete_blocks).await?;
        let range_deletes = reader.range_deletes().await?;
        let tally = count(&reader, &meta, &blocks, &range_deletes).await?;
        tally.check(&properties).map_err(|why| reader.damaged(footer.properties.offset, &why))?;
        tally.check_columns(&meta.dictionary).map_err(|why| reader.damaged(footer.dictionary.offset, &why))?;
        Ok(Self {
            size,
            sections: footer.named().map(|(name, place)| (name, place.offset, place.length)).into(),
            properties,
            columns: meta.dictionary.columns.clone(),
            all_columns: meta.dictionary.complete,
            blocks,
            delete_blocks,
            range_deletes: range_deletes.iter().map(|d| (d.range.clone(), d.seq)).collect(),
            filters: meta.filter.partitions.len(),
            prefixes: meta.filter.prefixes,
        })
    }
}

/// Footer and properties: with them it has a name.
fn ends(bytes: &Bytes) -> Result<(Footer, Properties)> {
    let at = bytes.len().saturating_sub(FOOTER_BYTES);
    let damaged = |at: u64, why: &str| Error::corrupt(format!("at offset {at}: {why}"));
    let footer = Footer::decode(&bytes[at..], bytes.len() as u64).map_err(|why| damaged(at as u64, &why))?;
    let Place { offset, length } = footer.properties;
    // The footer has checked that its sections lie before it.
    let section = &bytes[offset as usize..offset as usize + length as usize];
    let properties = envelope::decode(PROPERTIES_MAGIC, META_FORMAT, section).map_err(|e| damaged(offset, &e.message))?;
    Ok((footer, properties))
}

async fn open(bytes: Bytes, properties: &Properties) -> Result<Reader> {
    let store: SharedStore = Arc::new(InMemory::new());
    let (path, size) = (names::sstable(&properties.name), bytes.len() as u64);
    store.put(&path, bytes.into()).await.map_err(|e| failed("hold", &path, &e))?;
    let context = ReaderContext { store, cache: Arc::new(BlockCache::new(CACHE.0, CACHE.1)), metrics: Arc::default() };
    Ok(Reader::of_object(context, properties.name, size))
}

/// All entries of a section, as the top index sums them up.
async fn index(reader: &Reader, meta: &Meta, section: Section) -> Result<Vec<IndexEntry>> {
    let entries = reader.whole_index(section).await?;
    let sums = |(part, top): (&[IndexEntry], &PartitionEntry)| {
        let mut bounds = Bounds::NONE;
        part.iter().for_each(|e| bounds.join(&e.bounds));
        bounds == top.bounds
    };
    let parts = entries.chunks(PARTITION_ENTRIES).zip(meta.top(section));
    if !parts.clone().all(sums) {
        return Err(reader.damaged(meta.footer.top.offset, "the top index does not sum up its partitions"));
    }
    // Partitions check the order inside, the top index that of their first keys.
    match entries.windows(2).find(|w| w[0].first_key > w[1].first_key) {
        Some(w) => Err(reader.damaged(w[1].offset, "the block begins before the one before it")),
        None => Ok(entries),
    }
}

/// Every byte belongs to one thing: blocks and wide pages join up to the range deletes, partitions fill their sections.
async fn check_places(reader: &Reader, footer: &Footer, meta: &Meta, blocks: &[IndexEntry], deletes: &[IndexEntry]) -> Result<()> {
    let of = |offset: u64, length: u32| offset..offset.saturating_add(u64::from(length));
    let mut places: Vec<Range<u64>> = blocks.iter().chain(deletes).map(|e| of(e.offset, e.length)).collect();
    for entry in blocks.iter().chain(deletes) {
        for block in reader.load_blocks(&[entry], false).await? {
            let Block::Columnar(block) = block else { continue };
            places.extend(block.columns().iter().flat_map(|slot| slot.wide()).map(|page| of(page.offset, page.head.stored)));
        }
    }
    joined(reader, places, 0..footer.range_deletes.offset)?;
    let parts = [Section::Cells, Section::Deletes].into_iter().flat_map(|section| meta.top(section));
    joined(reader, parts.map(|p| of(p.offset, p.length)).collect(), of(footer.partitions.offset, footer.partitions.length))?;
    let filters = meta.filter.partitions.iter().map(|p| of(p.offset, p.length)).collect();
    joined(reader, filters, of(footer.filters.offset, footer.filters.length))
}

fn joined(reader: &Reader, mut places: Vec<Range<u64>>, whole: Range<u64>) -> Result<()> {
    places.sort_by_key(|place| (place.start, place.end));
    let mut at = whole.start;
    for place in places {
        if place.start != at {
            return Err(reader.damaged(at.min(place.start), "bytes that belong to nothing, or to two things"));
        }
        at = place.end;
    }
    if at == whole.end { Ok(()) } else { Err(reader.damaged(at, "bytes that belong to nothing")) }
}

/// Reads all rows and deletes.
async fn count(reader: &Arc<Reader>, meta: &Meta, blocks: &[IndexEntry], range_deletes: &[RangeDelete]) -> Result<Tally> {
    let scan = Arc::new(Scan { fill_cache: false, ..Scan::all(vec![KeyRange::ALL], Seq::MAX) });
    let mut held = Held::default();
    for n in 0..meta.filter.partitions.len() {
        reader.fetch(Need::Filter(n), false, &mut held).await?;
    }
    let known = |key: &[u8]| {
        let asked = reader.ask(meta, meta.filter.row(key), super::KeyHash::of_row(key), &held.filters);
        asked.is_ok_and(|may| may)
    };
    let mut tally = Tally::default();
    let mut cells = BlockCursor::new(reader.clone(), Section::Cells, scan.clone());
    while let Some(row) = cells.next().await? {
        let entry = blocks[..blocks.partition_point(|e| e.first_key <= row.key)].last();
        let offset = entry.map_or(0, |e| e.offset);
        tally.see_cells(&row, entry, &meta.dictionary).map_err(|why| reader.damaged(offset, &why))?;
        if !known(&row.key) {
            return Err(reader.damaged(meta.footer.filter_index.offset, &format!("the filter does not know the row {:?}", row.key)));
        }
    }
    let mut deletes = BlockCursor::new(reader.clone(), Section::Deletes, scan);
    while let Some(row) = deletes.next().await? {
        tally.see_deletes(&row).map_err(|why| reader.damaged(0, &why))?;
    }
    range_deletes.iter().for_each(|d| tally.see_range_delete(d));
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ErrorKind;

    const GOLDEN: &[u8] = include_bytes!("../../testdata/sstable-v3");

    #[tokio::test]
    async fn an_sstable_says_what_it_holds() {
        let found = Sstable::read(Bytes::from_static(GOLDEN)).await.unwrap();
        assert_eq!((found.size, found.properties.rows, found.range_deletes.len()), (GOLDEN.len() as u64, 21, 1));
        assert!(!found.delete_blocks.is_empty() && found.blocks.len() > 2 && found.filters == 1);
        let rows: u32 = found.blocks.iter().filter(|e| !e.continues).map(|e| e.rows).sum();
        assert_eq!(u64::from(rows), found.properties.rows);
        assert_eq!(found.columns.iter().map(|c| c.cells).sum::<u64>(), found.properties.puts);
    }

    #[tokio::test]
    async fn a_flipped_bit_or_a_cut_anywhere_is_damage_at_an_offset() {
        for at in 0..GOLDEN.len() {
            let mut damaged = GOLDEN.to_vec();
            damaged[at] ^= 1 << (at % 8);
            let e = Sstable::read(damaged.into()).await.err().unwrap_or_else(|| panic!("byte {at} went unnoticed"));
            assert!(e.kind == ErrorKind::Corrupt && e.message.contains("at offset"), "byte {at}: {e}");
        }
        for cut in (0..GOLDEN.len()).step_by(101) {
            let e = Sstable::read(Bytes::from_static(&GOLDEN[..cut])).await.unwrap_err();
            assert!(e.kind == ErrorKind::Corrupt && e.message.contains("at offset"), "cut at {cut}: {e}");
        }
    }

    /// The golden file with other properties.
    fn with_properties(change: impl FnOnce(&mut Properties)) -> (Bytes, u64) {
        let (mut footer, mut properties) = ends(&Bytes::from_static(GOLDEN)).unwrap();
        change(&mut properties);
        let section = envelope::encode(PROPERTIES_MAGIC, META_FORMAT, &properties).unwrap();
        footer.properties.length = section.len() as u32;
        let at = footer.properties.offset;
        ([&GOLDEN[..at as usize], &section, &footer.encode()].concat().into(), at)
    }

    type Change = fn(&mut Properties);

    #[tokio::test]
    async fn properties_that_say_something_else_are_damage() {
        let changes: [(&str, Change); 6] = [
            ("rows", |p| p.rows += 1),
            ("puts", |p| p.puts -= 1),
            ("deletes", |p| p.deletes += 1),
            ("seqs", |p| p.seqs.0 = Seq(0)),
            ("keys", |p| p.keys = None),
            ("families", |p| p.families.clear()),
        ];
        for (what, change) in changes {
            let (bytes, at) = with_properties(change);
            let e = Sstable::read(bytes).await.unwrap_err();
            assert!(e.message.contains(what) && e.message.contains(&format!("at offset {at}")), "{e}");
        }
        Sstable::read(with_properties(|_| ()).0).await.unwrap();
    }
}
