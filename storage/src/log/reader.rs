//! Reading a log back: one reader for all tablets that need it, each of which gets its own records as a stream.
//!
//! Files of a [`super::DiskLog`] and objects of an [`super::ObjectLog`] have the same names, the same index at their end, and are read
//! through the same interface. Only the newest file may lack its end: it is then scanned, and a torn tail is cut.

use super::index::{Index, Part, find_index};
use super::object::{ObjectHeader, ObjectKind};
use super::scan::scan;
use crate::format::{LogName, LogRecord, names};
use bytes::Bytes;
use common::store::{SharedStore, failed};
use common::{Error, Result};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStoreExt};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What is read first of a segment: its footer, mostly its index, and all of a small object.
const TAIL_BYTES: u64 = 16 << 10;
/// Neighbouring runs are read together up to this many bytes; a single run is at most one group commit.
const CHUNK_BYTES: u64 = 4 << 20;
/// Runs with less than this between them are read together.
const JOIN_BYTES: u64 = 64 << 10;
/// Indexes that are fetched ahead, and chunks.
const INDEXES_AHEAD: usize = 16;
const CHUNKS_AHEAD: usize = 4;

/// Records with the segments that hold them, in the order they were appended.
pub(crate) type RecordStream = BoxStream<'static, Result<(u64, LogRecord)>>;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct LogReader {
    store: SharedStore,
    name: LogName,
    segments: BTreeMap<u64, OnceCell<Contents>>,
    /// Whether the newest may be torn.
    torn: bool,
}

#[derive(Clone, Debug)]
struct Contents {
    index: Arc<Index>,
    /// All bytes, if they are few.
    whole: Option<Bytes>,
}

/// Runs that are read together.
#[derive(Debug)]
struct Chunk {
    number: u64,
    part: Part,
    span: Range<u64>,
    runs: Vec<Range<u64>>,
    whole: Option<Bytes>,
}

impl LogReader {
    /// A dead log of files; `store` is its log folder.
    ///
    /// # Errors
    /// `Corrupt` if one is missing, `Unavailable`.
    pub(crate) async fn files(store: SharedStore, name: LogName) -> Result<Self> {
        let numbers = numbers(&store, name).await?;
        if let Some(gap) = numbers.windows(2).find(|w| w[0] + 1 != w[1]) {
            let folder = names::log_prefix(name);
            return Err(Error::corrupt(format!("log folder '{folder}': segment {} is missing", gap[0] + 1)));
        }
        Ok(Self::of(store, name, numbers, true))
    }

    /// The objects of a log that lie without gap below its fence.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn objects(store: SharedStore, name: LogName, fence: u64) -> Result<Self> {
        let mut found = numbers(&store, name).await?;
        found.retain(|n| *n < fence);
        let below = found.iter().rev().zip((0..fence).rev()).take_while(|(found, due)| *found == due).count();
        let first = found.len() - below;
        Ok(Self::of(store, name, found.split_off(first), false))
    }

    /// All objects of a log that may go on growing. Of a tablet that was closed everything is there; of others the last
    /// records may be of puts that were never acknowledged.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn objects_as_listed(store: SharedStore, name: LogName) -> Result<Self> {
        let found = numbers(&store, name).await?;
        Ok(Self::of(store, name, found, false))
    }

    /// The log in use, as far as it is durable now.
    pub(crate) fn live(store: SharedStore, name: LogName, indexes: Vec<(u64, Arc<Index>)>) -> Self {
        let known = |index| OnceCell::new_with(Some(Contents { index, whole: None }));
        let segments = indexes.into_iter().map(|(number, index)| (number, known(index))).collect();
        Self { store, name, segments, torn: false }
    }

    fn of(store: SharedStore, name: LogName, numbers: Vec<u64>, torn: bool) -> Self {
        Self { store, name, segments: numbers.into_iter().map(|n| (n, OnceCell::new())).collect(), torn }
    }

    /// The oldest segment; `None` if there is none.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.segments.first_key_value().map(|(number, _)| *number)
    }

    /// One past the newest; 0 if there is none.
    pub(crate) fn end(&self) -> u64 {
        self.segments.last_key_value().map_or(0, |(number, _)| number + 1)
    }

    /// The records of one tablet and epoch. Errors in the stream: `Corrupt`, naming segment and offset, `Unavailable`.
    pub(crate) fn records(self: &Arc<Self>, part: Part) -> RecordStream {
        let (indexing, reading) = (self.clone(), self.clone());
        let numbers: Vec<u64> = self.segments.keys().copied().collect();
        stream::iter(numbers)
            .map(move |number| {
                let this = indexing.clone();
                async move { this.chunks(number, part).await }
            })
            .buffered(INDEXES_AHEAD)
            .map_ok(|chunks| stream::iter(chunks.into_iter().map(Ok)))
            .try_flatten()
            .map(move |chunk: Result<Chunk>| {
                let this = reading.clone();
                async move { this.read(chunk?).await }
            })
            .buffered(CHUNKS_AHEAD)
            .map_ok(|records| stream::iter(records.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    /// The newest records of one tablet and epoch: those of its last run, which is within one group commit or one object. Empty
    /// if it has none.
    ///
    /// # Errors
    /// `Corrupt`, naming segment and offset, `Unavailable`.
    pub(crate) async fn newest(&self, part: Part) -> Result<Vec<(u64, LogRecord)>> {
        for (number, cell) in self.segments.iter().rev() {
            let Contents { index, whole } = cell.get_or_try_init(|| self.load(*number)).await?;
            if let Some(run) = index.runs(part).last() {
                return self.read(Chunk { number: *number, part, span: run.clone(), runs: vec![run.clone()], whole: whole.clone() }).await;
            }
        }
        Ok(Vec::new())
    }

    /// The part's runs in a segment, joined to chunks.
    async fn chunks(&self, number: u64, part: Part) -> Result<Vec<Chunk>> {
        let Some(cell) = self.segments.get(&number) else { return Ok(Vec::new()) };
        let Contents { index, whole } = cell.get_or_try_init(|| self.load(number)).await?;
        let mut chunks: Vec<Chunk> = Vec::new();
        for run in index.runs(part) {
            match chunks.last_mut() {
                Some(last) if run.start - last.span.end < JOIN_BYTES && run.end - last.span.start <= CHUNK_BYTES => {
                    last.span.end = run.end;
                    last.runs.push(run.clone());
                }
                _ => chunks.push(Chunk { number, part, span: run.clone(), runs: vec![run.clone()], whole: whole.clone() }),
            }
        }
        Ok(chunks)
    }

    async fn load(&self, number: u64) -> Result<Contents> {
        fail::fail_point!("log-read-index", |_| Err(Error::unavailable("failpoint: log-read-index")));
        let path = names::log_object(self.name, number);
        let options = GetOptions { range: Some(GetRange::Suffix(TAIL_BYTES)), ..GetOptions::default() };
        let got = self.store.get_opts(&path, options).await.map_err(|e| missing(&path, &e))?;
        let (size, start, length) = (got.meta.size, got.range.start, got.range.end - got.range.start);
        let tail = got.bytes().await.map_err(|e| failed("read", &path, &e))?;
        if tail.len() as u64 != length || start + length != size {
            return Err(damaged(&path, start + tail.len() as u64, "it is cut short"));
        }
        let at_end = |why: &str| damaged(&path, size.saturating_sub(super::index::FOOTER_BYTES as u64), why);
        let Some(lies) = find_index(&tail, size) else {
            if self.torn && number + 1 == self.end() {
                let index = scan(&self.store, &path, size, (self.name, number)).await?;
                return Ok(Contents { index: Arc::new(index), whole: None });
            }
            if start == 0 && ObjectHeader::decode(&tail, self.name, number).is_ok_and(|h| h.kind == ObjectKind::Fence) {
                return Ok(Contents { index: Arc::default(), whole: None });
            }
            return Err(at_end("no footer of a log segment, version 1"));
        };
        let index = match lies.start.checked_sub(start) {
            Some(inner) => tail.slice(inner as usize..(lies.end - start) as usize),
            None => self.store.get_range(&path, lies.clone()).await.map_err(|e| failed("read", &path, &e))?,
        };
        let index = Index::decode(&index, self.name, number, lies.start).map_err(|e| damaged(&path, lies.start, &e.message))?;
        Ok(Contents { index: Arc::new(index), whole: (start == 0).then_some(tail) })
    }

    async fn read(&self, chunk: Chunk) -> Result<Vec<(u64, LogRecord)>> {
        fail::fail_point!("log-read-records", |_| Err(Error::unavailable("failpoint: log-read-records")));
        let path = names::log_object(self.name, chunk.number);
        let bytes = match &chunk.whole {
            Some(whole) => whole.slice(chunk.span.start as usize..chunk.span.end as usize),
            None => self.store.get_range(&path, chunk.span.clone()).await.map_err(|e| missing(&path, &e))?,
        };
        if bytes.len() as u64 != chunk.span.end - chunk.span.start {
            return Err(damaged(&path, chunk.span.start + bytes.len() as u64, "it is cut short"));
        }
        let mut records = Vec::new();
        for run in &chunk.runs {
            let inner = (run.start - chunk.span.start) as usize..(run.end - chunk.span.start) as usize;
            let decoded = decode_run(&bytes[inner], chunk.part).map_err(|(at, why)| damaged(&path, run.start + at as u64, &why))?;
            records.extend(decoded.into_iter().map(|record| (chunk.number, record)));
        }
        Ok(records)
    }
}

fn decode_run(bytes: &[u8], part: Part) -> Result<Vec<LogRecord>, (usize, String)> {
    let (mut records, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (record, length) = LogRecord::decode(&bytes[at..]).map_err(|e| (at, e.message))?;
        if (record.tablet, record.epoch) != part {
            return Err((at, format!("a record of {:?} where the index says {part:?}", (record.tablet, record.epoch))));
        }
        records.push(record);
        at += length;
    }
    Ok(records)
}

pub(super) fn damaged(path: &Path, at: u64, why: &str) -> Error {
    Error::corrupt(format!("log segment '{path}' at offset {at}: {why}"))
}

fn missing(path: &Path, e: &object_store::Error) -> Error {
    match e {
        object_store::Error::NotFound { .. } => Error::corrupt(format!("log segment '{path}' is missing")),
        e => failed("read", path, e),
    }
}

/// Numbers of a log's segments, ascending; empty if there is no such log.
pub(super) async fn numbers(store: &SharedStore, name: LogName) -> Result<Vec<u64>> {
    let prefix = names::log_prefix(name);
    let listed: Vec<_> = store.list(Some(&prefix)).try_collect().await.map_err(|e| failed("list", &prefix, &e))?;
    let mut numbers: Vec<u64> = listed.iter().filter_map(|o| o.location.filename()?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
