//! The write-ahead log: one a server, shared by its tablets, group-committed.
//!
//! A log is a folder of numbered segments without gaps. Appends are durable in the order they were
//! made. A segment is deleted only from the low end, never the newest, and only once no tablet's
//! *manifest* needs it; small cold tablets that hold it back are flushed rather than copied to the tail.

mod disk;
mod group;
mod replay;
mod segments;

pub(crate) use disk::{DiskLog, DiskLogConfig};
pub(crate) use replay::{TabletRecords, read_log};
pub(crate) use segments::{incarnations, remove_log};

use crate::format::LogName;
use common::Result;
use std::fmt;
use tokio::sync::oneshot;

/// Resolves to the segment that holds the records, once they are durable.
pub(crate) type Durable = oneshot::Receiver<Result<u64>>;

/// A log that tablets append to.
#[async_trait::async_trait]
pub(crate) trait Log: Send + Sync + fmt::Debug {
    /// Its name.
    fn name(&self) -> LogName;
    /// Appends encoded records together. Whatever was appended before is durable no later. After a failure
    /// everything fails: what the disk holds is then unknown, and only recovery can tell.
    fn append(&self, records: EncodedRecords) -> Durable;
    /// The segment that an append beginning now goes to, or a lower one.
    fn newest(&self) -> u64;
    /// The oldest segment there is.
    fn oldest(&self) -> u64;
    /// Bytes of all segments.
    fn bytes(&self) -> u64;
    /// Deletes segments below `needed`, upward, except the newest and those younger than request ids are remembered.
    ///
    /// # Errors
    /// `Unavailable`; what is left is deleted by a later call.
    async fn trim(&self, needed: u64) -> Result<()>;
    /// Makes everything durable and ends the log; later appends fail.
    ///
    /// # Errors
    /// `Unavailable` if the disk fails.
    async fn close(&self) -> Result<()>;
}

/// Some records, each in its envelope.
#[derive(Debug, Default)]
pub(crate) struct EncodedRecords {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
}

impl EncodedRecords {
    pub(crate) fn push(&mut self, record: &crate::format::LogRecord) -> Result<()> {
        let encoded = record.encode()?;
        if self.bytes.is_empty() {
            self.bytes = encoded;
        } else {
            self.bytes.extend_from_slice(&encoded);
        }
        self.count += 1;
        Ok(())
    }

    pub(crate) fn one(record: &crate::format::LogRecord) -> Result<Self> {
        let mut records = Self::default();
        records.push(record)?;
        Ok(records)
    }
}

/// A whole segment with one group of records and its end.
#[cfg(test)]
pub(crate) fn segment_for_tests(log: LogName, number: u64, records: &EncodedRecords) -> Vec<u8> {
    let mut out = group::segment_header(log, number).expect("a header encodes");
    for (i, part) in [records, &EncodedRecords::default()].into_iter().enumerate() {
        let header = group::GroupHeader::of(i as u64 + 1, part.count, &part.bytes).expect("a small group");
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&part.bytes);
    }
    out
}
