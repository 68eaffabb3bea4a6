//! The write-ahead log: one a server, shared by its tablets, group-committed.
//!
//! A log is a sequence of numbered segments without gaps: files of a [`DiskLog`], objects of an [`ObjectLog`]. Appends
//! are durable in the order they were made. A segment is deleted only from the low end, never the newest, and only once
//! no tablet's *manifest* needs it. Each ends with an index by tablet, so that recovery reads its own tablets' part only.
//!
//! `index`, `batch`, `live`, `group` → `disk`, `object` → `reader`.

mod batch;
mod disk;
mod group;
mod index;
mod live;
mod object;
mod reader;
mod scan;
mod segments;
mod survey;

pub(crate) use batch::EncodedRecords;
pub(crate) use disk::{DiskLog, DiskLogConfig};
#[cfg(test)]
pub(crate) use index::Index;
pub(crate) use index::Part;
pub use object::fence_log;
pub(crate) use object::{ObjectLog, remove_objects};
pub(crate) use reader::{LogReader, RecordStream};
pub(crate) use segments::{incarnations, log_exists, remove_log};
pub use survey::{LogGroup, LogSegment, LogSegmentKind};

use crate::format::LogName;
use common::Result;
use std::fmt;
use std::time::Duration;
use tokio::sync::oneshot;

/// Request ids are remembered this long, so segments younger than this stay.
const KEEP_YOUNGER: Duration = Duration::from_secs(60);

/// Resolves to the segment that holds the records, once they are durable.
pub(crate) type Durable = oneshot::Receiver<Result<u64>>;

/// A log that tablets append to.
#[async_trait::async_trait]
pub(crate) trait Log: Send + Sync + fmt::Debug {
    /// Its name.
    fn name(&self) -> LogName;
    /// Whether it takes appends now; to be asked before anything is numbered.
    ///
    /// # Errors
    /// `ResourceExhausted`, with a time to wait, while it is slow; `Fenced`, `Unavailable` once it has ended.
    fn ready(&self) -> Result<()> {
        Ok(())
    }
    /// Appends encoded records together. Whatever was appended before is durable no later. After a failure
    /// everything fails: what the log holds is then unknown, and only recovery can tell.
    fn append(&self, records: EncodedRecords) -> Durable;
    /// The segment that an append beginning now goes to, or a lower one; never above what a fence may be put at.
    fn newest(&self) -> u64;
    /// The first segment to keep so that those kept are at most `segments` and hold at most `bytes`; the newest stays.
    fn keep_from(&self, bytes: u64, segments: usize) -> u64;
    /// Reads back the segments from `from` on, as far as they are durable now.
    fn reader(&self, from: u64) -> LogReader;
    /// Deletes segments below `needed`, upward, except the newest and those younger than request ids are remembered.
    ///
    /// # Errors
    /// `Unavailable`; what is left is deleted by a later call.
    async fn trim(&self, needed: u64) -> Result<()>;
    /// Makes everything durable and ends the log; later appends fail.
    ///
    /// # Errors
    /// `Unavailable` if the disk fails, `Fenced`.
    async fn close(&self) -> Result<()>;
}

/// A whole segment with one group of records and its end.
#[cfg(test)]
pub(crate) fn segment_for_tests(log: LogName, number: u64, records: EncodedRecords) -> Vec<u8> {
    let mut out = group::segment_header(log, number).expect("a header encodes");
    let (mut index, mut body, at) = (Index::default(), Vec::new(), out.len() + group::HEADER_BYTES);
    let mut batch = batch::Batch::default();
    batch.push(records, oneshot::channel().0);
    let count = batch.records();
    batch.write(at as u64, &mut body, &mut index);
    out.extend_from_slice(&group::GroupHeader::of(1, count, &body).expect("a small group").encode());
    out.extend_from_slice(&body);
    let end = group::segment_end(log, number, &index, 2, out.len() as u64).expect("a small index");
    out.extend_from_slice(&end);
    out
}
