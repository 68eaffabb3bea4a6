//! The log in the object store: one object a group commit, created if absent under the next number.

mod fence;
mod format;
mod put;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

pub use fence::fence_log;
pub(crate) use fence::remove_objects;

use super::{Durable, EncodedRecords, KEEP_YOUNGER, Log, LogReader};
use crate::ObjectLogSettings;
use crate::format::{LogName, names};
use crate::metrics::Metrics;
use common::store::{Persistence, SharedStore, failed};
use common::time::SharedClock;
use common::{Error, Result};
use format::encode_records;
pub(super) use format::{ObjectHeader, ObjectKind};
use object_store::ObjectStoreExt;
use put::{Objects, PAUSE, Put};
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use writer::{Job, Writer};

/// Puts that fly at once at most: a fencer looks for the log's end among so many of its newest objects.
pub(crate) const MAX_PUTS_IN_FLIGHT: usize = 32;

fn check(settings: &ObjectLogSettings) -> Result<()> {
    let ObjectLogSettings { puts_in_flight, object_bytes, .. } = settings;
    if (1..=MAX_PUTS_IN_FLIGHT).contains(puts_in_flight) && *object_bytes > 0 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "object log: {puts_in_flight} puts in flight, of {object_bytes} bytes: 1 to {MAX_PUTS_IN_FLIGHT} of at least one byte are possible"
    )))
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct ObjectLog {
    objects: Objects,
    config: ObjectLogSettings,
    clock: SharedClock,
    jobs: mpsc::UnboundedSender<Job>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    /// Aborted with the log: what it has not answered then is of unknown outcome.
    task: tokio::task::JoinHandle<()>,
}

impl ObjectLog {
    /// Begins the log of a new incarnation with an object without records, so that one that exists has begun.
    ///
    /// # Errors
    /// `AlreadyExists` if this incarnation has written a log before, `Fenced` if it was fenced, `InvalidArgument` for
    /// settings that contradict each other, `Unavailable`.
    pub(crate) async fn create(
        store: SharedStore,
        name: LogName,
        config: ObjectLogSettings,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        check(&config)?;
        let objects = Objects { store, name, attempt: config.attempt };
        let shared = Arc::new(Shared::default());
        let nonce = common::store::nonce();
        let (bytes, index) = encode_records(name, 1, nonce, &mut Default::default())?;
        let length = bytes.len() as u64;
        begin(&objects, nonce, bytes).await?;
        shared.durable(1, length, clock.monotonic(), Arc::new(index));
        let (jobs, queue) = mpsc::unbounded_channel();
        let writer = Writer::new(objects.clone(), config.clone(), clock.clone(), shared.clone(), metrics.clone());
        let task = tokio::spawn(writer.run(queue));
        Ok(Self { objects, config, clock, jobs, shared, metrics, task })
    }
}

/// How often the first object is tried to be put.
const ATTEMPTS: u32 = 5;

async fn begin(objects: &Objects, nonce: u128, bytes: bytes::Bytes) -> Result<()> {
    let name = objects.name;
    let what = || format!("begin log '{}'", names::log_prefix(name));
    let persistence = Persistence { patience: objects.attempt, pause: PAUSE, attempts: ATTEMPTS };
    match persistence.run(what, || objects.put_once(1, nonce, bytes.clone())).await? {
        Put::Won => Ok(()),
        Put::Lost(by) if by.kind == ObjectKind::Fence => {
            Err(Error::fenced(format!("the log of server {} incarnation {} was fenced before it began", name.server, name.incarnation)))
        }
        Put::Lost(_) => {
            let prefix = names::log_prefix(name);
            Err(Error::already_exists(format!("the log '{prefix}' exists: an incarnation is used once")))
        }
    }
}

impl Drop for ObjectLog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait::async_trait]
impl Log for ObjectLog {
    fn name(&self) -> LogName {
        self.objects.name
    }

    fn ready(&self) -> Result<()> {
        self.shared.check(self.config.attempt)?;
        let pending = self.shared.pending();
        if pending > self.config.pending_bytes {
            let text = format!("{pending} bytes wait for the log: the object store takes it slower than it comes");
            return Err(Error::exhausted(text, self.config.attempt));
        }
        Ok(())
    }

    fn append(&self, records: EncodedRecords) -> Durable {
        let (done, durable) = oneshot::channel();
        self.shared.appended(records.bytes.len());
        if let Err(mpsc::error::SendError(Job::Append(_, done))) = self.jobs.send(Job::Append(records, done)) {
            let closed = Error::unavailable("the log is closed: the server is shutting down");
            let _ = done.send(Err(self.shared.check(Duration::MAX).err().unwrap_or(closed)));
        }
        durable
    }

    fn newest(&self) -> u64 {
        // Higher numbers may be in flight, but a fence may still come to be here.
        self.shared.newest_durable() + 1
    }

    fn keep_from(&self, bytes: u64, segments: usize) -> u64 {
        self.shared.objects.keep_from(bytes, segments)
    }

    fn reader(&self, from: u64) -> LogReader {
        LogReader::live(self.objects.store.clone(), self.objects.name, self.shared.objects.indexes(from))
    }

    async fn trim(&self, needed: u64) -> Result<()> {
        let below = needed.min(self.shared.newest_durable());
        let young = self.clock.monotonic().saturating_sub(KEEP_YOUNGER);
        while let Some(number) = self.shared.objects.trimmable(below, young) {
            fail::fail_point!("log-trim-delete", |_| Err(Error::unavailable("failpoint: log-trim-delete")));
            let path = names::log_object(self.objects.name, number);
            match self.objects.store.delete(&path).await {
                // Deleted by an attempt that seemed to fail.
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(failed("delete", &path, &e)),
            }
            self.shared.objects.remove(number);
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
