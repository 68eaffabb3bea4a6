//! The log on a local disk: one writer thread, many appends to one write and one fdatasync.

use super::group::{GroupHeader, segment_header};
use super::segments::{create_folder, sync_folder};
use super::{Durable, EncodedRecords, Log};
use crate::format::{LogName, names};
use crate::metrics::Metrics;
use crate::sync::lock;
use common::time::SharedClock;
use common::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// Bytes of records that one group commit takes at most, unless its first append alone is larger.
const MAX_GROUP_BYTES: usize = 16 << 20;
/// Request ids are remembered this long, so segments younger than this stay.
const KEEP_YOUNGER: Duration = Duration::from_secs(60);

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
    clock: SharedClock,
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

/// What the writer thread tells the others.
#[derive(Debug, Default)]
struct Shared {
    newest: AtomicU64,
    /// Bytes and time of the last append of each segment. Held for map operations only.
    segments: Mutex<BTreeMap<u64, SegmentState>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct SegmentState {
    bytes: u64,
    touched: Duration,
}

/// Told the segment, or what went wrong.
type Done = oneshot::Sender<Result<u64>>;

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
        let shared = Arc::new(Shared::default());
        let writer = Writer::begin(&config, folder.clone(), shared.clone(), metrics.clone())?;
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new().name("stele-log".into());
        thread.spawn(move || writer.run(&queue)).map_err(|e| Error::unavailable(format!("cannot start the log thread: {e}")))?;
        Ok(Self { name: config.name, folder, clock: config.clock, jobs, shared, metrics })
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

    fn oldest(&self) -> u64 {
        lock(&self.shared.segments).keys().next().copied().unwrap_or_default()
    }

    fn bytes(&self) -> u64 {
        lock(&self.shared.segments).values().map(|s| s.bytes).sum()
    }

    async fn trim(&self, needed: u64) -> Result<()> {
        let (newest, young) = (self.newest(), self.clock.monotonic().saturating_sub(KEEP_YOUNGER));
        loop {
            let oldest = lock(&self.shared.segments).first_key_value().map(|(n, s)| (*n, *s));
            let Some((number, _)) = oldest.filter(|(n, s)| *n < needed && *n < newest && s.touched < young) else {
                return Ok(());
            };
            let path = self.folder.join(names::segment(number));
            tokio::fs::remove_file(&path).await.map_err(|e| Error::unavailable(format!("cannot delete '{}': {e}", path.display())))?;
            lock(&self.shared.segments).remove(&number);
            self.metrics.log_segments_trimmed.add(1);
        }
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
}

impl Writer {
    fn begin(config: &DiskLogConfig, folder: PathBuf, shared: Arc<Shared>, metrics: Arc<Metrics>) -> Result<Self> {
        let (file, written) = create_segment(&folder, config.name, 1)?;
        let (name, segment_bytes, clock) = (config.name, config.segment_bytes, config.clock.clone());
        let writer = Self { name, folder, segment_bytes, clock, shared, metrics, file, segment: 1, written, group: 1 };
        writer.publish();
        Ok(writer)
    }

    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        let mut broken = None;
        while let Ok(first) = queue.recv() {
            let (records, waiting, close) = gather(first, queue);
            let result = match &broken {
                Some(e) => Err(Error::clone(e)),
                None => self.commit(&records),
            };
            if let Err(e) = &result {
                tracing::error!(error = %e, "the log has failed; this server takes no more writes");
                broken = Some(e.clone());
            }
            for done in waiting {
                let _ = done.send(result.clone());
            }
            if let Some(done) = close {
                let ended = result.and_then(|_| self.end());
                let _ = done.send(ended.map(|()| self.segment));
                return;
            }
        }
    }

    /// Makes the records durable in one segment; its number.
    fn commit(&mut self, records: &EncodedRecords) -> Result<u64> {
        if records.count == 0 {
            return Ok(self.segment);
        }
        if self.written >= self.segment_bytes {
            self.roll()?;
        }
        self.write_group(records)?;
        self.metrics.log_groups.add(1);
        self.metrics.log_bytes.add(records.bytes.len() as u64);
        self.publish();
        Ok(self.segment)
    }

    fn write_group(&mut self, records: &EncodedRecords) -> Result<()> {
        let failed = |e: std::io::Error| Error::unavailable(format!("cannot append to the log: {e}"));
        fail::fail_point!("log-append", |_| Err(Error::unavailable("failpoint: log-append")));
        let header = GroupHeader::of(self.group, records.count, &records.bytes)?.encode();
        self.file.write_all(&header).map_err(failed)?;
        self.file.write_all(&records.bytes).map_err(failed)?;
        fail::fail_point!("log-sync", |_| Err(Error::unavailable("failpoint: log-sync")));
        self.file.sync_data().map_err(failed)?;
        self.group += 1;
        self.written += (header.len() + records.bytes.len()) as u64;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.write_group(&EncodedRecords::default())
    }

    fn roll(&mut self) -> Result<()> {
        self.end()?;
        let (file, written) = create_segment(&self.folder, self.name, self.segment + 1)?;
        (self.file, self.written, self.segment, self.group) = (file, written, self.segment + 1, 1);
        Ok(())
    }

    fn publish(&self) {
        let state = SegmentState { bytes: self.written, touched: self.clock.monotonic() };
        lock(&self.shared.segments).insert(self.segment, state);
        self.shared.newest.store(self.segment, Ordering::Release);
    }
}

/// Joins what waits into one group.
fn gather(first: Job, queue: &mpsc::Receiver<Job>) -> (EncodedRecords, Vec<Done>, Option<Done>) {
    let (mut records, mut waiting) = (EncodedRecords::default(), Vec::new());
    let mut next = Some(first);
    while let Some(job) = next {
        match job {
            Job::Append(more, done) => {
                records.count += more.count;
                if records.bytes.is_empty() {
                    records.bytes = more.bytes;
                } else {
                    records.bytes.extend_from_slice(&more.bytes);
                }
                waiting.push(done);
            }
            Job::Close(done) => return (records, waiting, Some(done)),
        }
        next = if records.bytes.len() < MAX_GROUP_BYTES { queue.try_recv().ok() } else { None };
    }
    (records, waiting, None)
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
