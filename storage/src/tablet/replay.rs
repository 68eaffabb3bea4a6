//! What a log's records make of a manifest: the same as if they had never been in a memtable that was lost.

use super::requests::{Requests, is_recent, joined, of_record};
use super::staging::{Staged, weight};
use crate::format::{LogBody, LogRecord, Manifest, Remembered, Shapes, SstableRef};
use crate::log::RecordStream;
use crate::memtable::{Batch, Memtable};
use crate::sstable::RangeDelete;
use common::Result;
use common::ids::Seq;
use common::time::{Clock, Micros};
use futures::TryStreamExt;
use std::sync::Arc;

/// A tablet's state in memory after replay.
#[derive(Debug)]
pub(super) struct Replayed {
    /// Rows above the manifest's flushed seq.
    pub(super) memtable: Arc<Memtable>,
    /// SSTables ingested above it.
    pub(super) ingested: Vec<SstableRef>,
    pub(super) staged: Staged,
    pub(super) staged_bytes: usize,
    /// Requests to copy to the new log, and the same as a book.
    pub(super) remembered: Vec<Remembered>,
    pub(super) requests: Requests,
    pub(super) visible: Seq,
    pub(super) highest: Micros,
    pub(super) shapes: Shapes,
}

impl Replayed {
    /// Replays a tablet's records, given with their segments, over its manifest; of the tablets that it was made of, what
    /// they have `inherited` to it counts for requests only.
    ///
    /// # Errors
    /// What the streams give.
    pub(super) async fn read(
        manifest: &Manifest,
        mut records: RecordStream,
        inherited: Vec<RecordStream>,
        clock: &dyn Clock,
    ) -> Result<Self> {
        let mut this = Self::of(manifest);
        while let Some((segment, record)) = records.try_next().await? {
            this.record(manifest, segment, record);
        }
        let mut known = vec![std::mem::take(&mut this.remembered)];
        for records in inherited {
            known.push(requests(records).await?);
        }
        known.iter_mut().for_each(|of_one| of_one.retain(|r| is_recent(r.timestamp, clock.now())));
        this.remembered = joined(known);
        // Restored ids are remembered for a whole minute more: longer never hurts.
        this.remembered.iter().for_each(|r| this.requests.restore(r, clock.monotonic()));
        Ok(this)
    }

    fn of(manifest: &Manifest) -> Self {
        Self {
            memtable: Memtable::new(),
            ingested: Vec::new(),
            staged: Staged::new(manifest.applied_runs.clone()),
            staged_bytes: 0,
            remembered: Vec::new(),
            requests: Requests::default(),
            visible: manifest.flushed,
            highest: manifest.highest_timestamp,
            shapes: Shapes::default(),
        }
    }

    /// Forgets everything but request ids.
    fn restart(&mut self, manifest: &Manifest) {
        let (remembered, highest) = (std::mem::take(&mut self.remembered), self.highest);
        *self = Self { remembered, highest, ..Self::of(manifest) };
    }

    fn record(&mut self, manifest: &Manifest, segment: u64, record: LogRecord) {
        let above = record.last > manifest.flushed;
        self.remembered.extend(of_record(&record));
        match record.body {
            LogBody::Write { timestamp, mut rows, .. } => {
                self.highest = self.highest.max(timestamp);
                // A batch enters a memtable whole: it is flushed whole or not at all.
                if above {
                    rows.share(&self.shapes);
                    self.memtable.insert(Batch::rising(record.first, timestamp, rows), segment);
                    self.visible = record.last;
                }
            }
            LogBody::Conditional { timestamp, row, .. } => {
                self.highest = self.highest.max(timestamp);
                if let Some(row) = row.filter(|_| above) {
                    self.memtable.insert(Batch::at(record.last, &[row]), segment);
                    self.visible = record.last;
                }
            }
            LogBody::DeleteRange { timestamp, range, .. } => {
                self.highest = self.highest.max(timestamp);
                if above {
                    self.memtable.insert_range_delete(RangeDelete { range, seq: record.last }, segment);
                    self.visible = record.last;
                }
            }
            LogBody::Ingest { timestamp, sstables, .. } => {
                self.highest = self.highest.max(timestamp);
                if above {
                    self.ingested.extend(sstables.into_iter().map(|s| s.numbered(record.last)));
                    self.visible = record.last;
                }
            }
            LogBody::Stage { run, part, timestamp, rows } => {
                self.highest = self.highest.max(timestamp);
                if !self.staged.is_applied(run) {
                    let rows: Vec<_> = rows.iter(timestamp).map(|row| row.to_stored()).collect();
                    self.staged_bytes += weight(&rows);
                    self.staged_bytes -= self.staged.add(run, part, rows, segment);
                }
            }
            LogBody::Apply { runs } => {
                let taken = self.staged.take(&runs);
                self.staged_bytes -= taken.weight;
                if above {
                    self.memtable.insert(Batch::at(record.last, &taken.rows), taken.log_from.min(segment));
                    self.staged.remember(&runs, record.last);
                    self.visible = record.last;
                }
            }
            LogBody::DropStaged { run } => self.staged_bytes -= self.staged.take(&[run]).weight,
            LogBody::Requests(remembered) => self.remembered.extend(remembered),
            LogBody::Restart => self.restart(manifest),
            LogBody::ClosedTablet => {}
        }
    }
}

/// The requests that records answer.
async fn requests(mut records: RecordStream) -> Result<Vec<Remembered>> {
    let mut all = Vec::new();
    while let Some((_, record)) = records.try_next().await? {
        all.extend(of_record(&record));
        if let LogBody::Requests(remembered) = record.body {
            all.extend(remembered);
        }
    }
    Ok(all)
}
