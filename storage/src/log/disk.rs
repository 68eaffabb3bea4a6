//! The log on a local disk: one writer thread, many appends to one write and one fdatasync.

use super::batch::{Batch, Done, EncodedRecords};
use super::group::{GroupHeader, HEADER_BYTES, segment_end, segment_header};
use super::index::Index;
use super::live::LiveSegments;
use super::segments::{create_folder, sync_folder};
use super::{Durable, KEEP_YOUNGER, Log, LogReader};
use crate::format::{LogName, names};
use crate::metrics::Metrics;
use common::store::{DurableLocal, SharedStore};
use common::time::SharedClock;
use common::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;

/// Bytes of records that one group commit takes at most, unless its first append alone is larger.
const MAX_GROUP_BYTES: usize = 16 << 20;

/// Settings of a [`DiskLog`].
#[derive(Clone, Debug)]
pub(crate) struct DiskLogConfig {
    pub(crate) log_dir: PathBuf,
    pub(crate) name: LogName,
    pub(crate) segment_bytes: u64,
    pub(crate) clock: SharedClock,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct DiskLog {
    name: LogName,
    folder: PathBuf,
    /// The log folder, for reading back.
    files: SharedStore,
    clock: SharedClock,
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

/// What the writer thread tells the others.
#[derive(Debug, Default)]
struct Shared {
    newest: AtomicU64,
    segments: LiveSegments,
}

#[derive(Debug)]
enum Job {
    Append(EncodedRecords, Done),
    Close(Done),
}

impl DiskLog {
    /// Begins the log of a new incarnation.
    ///
    /// # Errors
    /// `AlreadyExists` if this incarnation has written a log before, `Unavailable`.
    pub(crate) fn create(config: DiskLogConfig, metrics: Arc<Metrics>) -> Result<Self> {
        let folder = names::log_folder(&config.log_dir, config.name);
        if folder.exists() {
            return Err(Error::already_exists(format!("the log '{}' exists: an incarnation is used once", folder.display())));
        }
        create_folder(&folder)?;
        let files = Arc::new(DurableLocal::open(&config.log_dir)?);
        let shared = Arc::new(Shared::default());
        let writer = Writer::begin(&config, folder.clone(), shared.clone(), metrics.clone())?;
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new().name("stele-log".into());
        thread.spawn(move || writer.run(&queue)).map_err(|e| Error::unavailable(format!("cannot start the log thread: {e}")))?;
        Ok(Self { name: config.name, folder, files, clock: config.clock, jobs, shared, metrics })
    }
}

#[async_trait::async_trait]
impl Log for DiskLog {
    fn name(&self) -> LogName {
        self.name
    }

    fn append(&self, records: EncodedRecords) -> Durable {
        let (done, durable) = oneshot::channel();
        if let Err(mpsc::SendError(Job::Append(_, done))) = self.jobs.send(Job::Append(records, done)) {
            let _ = done.send(Err(closed()));
        }
        durable
    }

    fn newest(&self) -> u64 {
        self.shared.newest.load(Ordering::Acquire)
    }

    fn keep_from(&self, bytes: u64, segments: usize) -> u64 {
        self.shared.segments.keep_from(bytes, segments)
    }

    fn reader(&self, from: u64) -> LogReader {
        LogReader::live(self.files.clone(), self.name, self.shared.segments.indexes(from))
    }

    async fn trim(&self, needed: u64) -> Result<()> {
        let (newest, young) = (self.newest(), self.clock.monotonic().saturating_sub(KEEP_YOUNGER));
        while let Some(number) = self.shared.segments.trimmable(needed.min(newest), young) {
            fail::fail_point!("log-trim-delete", |_| Err(Error::unavailable("failpoint: log-trim-delete")));
            let path = self.folder.join(names::segment(number));
            tokio::fs::remove_file(&path).await.map_err(|e| Error::unavailable(format!("cannot delete '{}': {e}", path.display())))?;
            self.shared.segments.remove(number);
            self.metrics.log_segments_trimmed.add(1);
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        let (done, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).is_err() {
            return Ok(());
        }
        closed.await.map_or(Ok(()), |r| r.map(|_| ()))
    }
}

fn closed() -> Error {
    Error::unavailable("the log is closed: the server is shutting down or its disk has failed")
}

/// The only one that writes: owned by its thread.
struct Writer {
    name: LogName,
    folder: PathBuf,
    segment_bytes: u64,
    clock: SharedClock,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    file: File,
    segment: u64,
    /// Bytes of the open segment.
    written: u64,
    /// Number of the next group in it.
    group: u64,
    /// Reused from group to group.
    buffer: Vec<u8>,
}

impl Writer {
    fn begin(config: &DiskLogConfig, folder: PathBuf, shared: Arc<Shared>, metrics: Arc<Metrics>) -> Result<Self> {
        let (file, written) = create_segment(&folder, config.name, 1)?;
        let (name, segment_bytes, clock) = (config.name, config.segment_bytes, config.clock.clone());
        let buffer = Vec::new();
        let writer = Self { name, folder, segment_bytes, clock, shared, metrics, file, segment: 1, written, group: 1, buffer };
        writer.publish(|_| {});
        Ok(writer)
    }

    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        let mut broken = None;
        while let Ok(first) = queue.recv() {
            let (mut batch, close) = gather(first, queue);
            let result = match &broken {
                Some(e) => Err(Error::clone(e)),
                None => self.commit(&mut batch),
            };
            if let Err(e) = &result {
                tracing::error!(error = %e, "the log has failed; this server takes no more writes");
                broken = Some(e.clone());
            }
            batch.finish(&result);
            if let Some(done) = close {
                let ended = result.and_then(|_| self.end());
                let _ = done.send(ended.map(|()| self.segment));
                return;
            }
        }
    }

    /// Makes the records durable in one segment; its number.
    fn commit(&mut self, batch: &mut Batch) -> Result<u64> {
        let records = batch.records();
        if records == 0 {
            return Ok(self.segment);
        }
        if self.written >= self.segment_bytes {
            self.roll()?;
        }
        let mut index = Index::default();
        self.buffer.clear();
        self.buffer.resize(HEADER_BYTES, 0);
        batch.write(self.written + HEADER_BYTES as u64, &mut self.buffer, &mut index);
        let header = GroupHeader::of(self.group, records, &self.buffer[HEADER_BYTES..])?.encode();
        self.buffer[..HEADER_BYTES].copy_from_slice(&header);
        self.write_synced()?;
        self.metrics.log_groups.add(1);
        self.metrics.log_bytes.add(batch.bytes() as u64);
        self.publish(|known| known.extend(index));
        Ok(self.segment)
    }

    /// Appends the buffer.
    fn write_synced(&mut self) -> Result<()> {
        let failed = |e: std::io::Error| Error::unavailable(format!("cannot append to the log: {e}"));
        fail::fail_point!("log-append", |_| Err(Error::unavailable("failpoint: log-append")));
        self.file.write_all(&self.buffer).map_err(failed)?;
        fail::fail_point!("log-sync", |_| Err(Error::unavailable("failpoint: log-sync")));
        self.file.sync_data().map_err(failed)?;
        fail::fail_point!("log-sync-done", |_| Err(Error::unavailable("failpoint: log-sync-done")));
        self.group += 1;
        self.written += self.buffer.len() as u64;
        self.buffer.shrink_to(MAX_GROUP_BYTES);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let index = self.shared.segments.indexes(self.segment).pop().map(|(_, index)| index).unwrap_or_default();
        self.buffer = segment_end(self.name, self.segment, &index, self.group, self.written)?;
        self.write_synced()
    }

    fn roll(&mut self) -> Result<()> {
        self.end()?;
        fail::fail_point!("log-roll", |_| Err(Error::unavailable("failpoint: log-roll")));
        let (file, written) = create_segment(&self.folder, self.name, self.segment + 1)?;
        (self.file, self.written, self.segment, self.group) = (file, written, self.segment + 1, 1);
        Ok(())
    }

    fn publish(&self, note: impl FnOnce(&mut Index)) {
        let (bytes, touched) = (self.written, self.clock.monotonic());
        self.shared.segments.change(self.segment, |s| {
            (s.bytes, s.touched) = (bytes, touched);
            note(Arc::make_mut(&mut s.index));
        });
        self.shared.newest.store(self.segment, Ordering::Release);
    }
}

/// Joins what waits into one group.
fn gather(first: Job, queue: &mpsc::Receiver<Job>) -> (Batch, Option<Done>) {
    let mut batch = Batch::default();
    let mut next = Some(first);
    while let Some(job) = next {
        match job {
            Job::Append(records, done) => batch.push(records, done),
            Job::Close(done) => return (batch, Some(done)),
        }
        next = if batch.bytes() < MAX_GROUP_BYTES { queue.try_recv().ok() } else { None };
    }
    (batch, None)
}

fn create_segment(folder: &Path, log: LogName, number: u64) -> Result<(File, u64)> {
    let path = folder.join(names::segment(number));
    let failed = |e: std::io::Error| Error::unavailable(format!("cannot create '{}': {e}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    let header = segment_header(log, number)?;
    file.write_all(&header).and_then(|()| file.sync_all()).map_err(failed)?;
    sync_folder(folder)?;
    Ok((file, header.len() as u64))
}
