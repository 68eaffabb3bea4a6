//! Appends that become durable together, in one group or one object.

use super::index::{Index, Part};
use crate::format::LogRecord;
use common::{Error, Result};
use tokio::sync::oneshot;

/// Some records of one part, each in its envelope.
#[derive(Debug, Default)]
pub(crate) struct EncodedRecords {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
    part: Part,
}

impl EncodedRecords {
    /// Adds a record of the same tablet and epoch.
    ///
    /// # Errors
    /// `Internal` if it is of another, and as for [`LogRecord::encode`].
    pub(crate) fn push(&mut self, record: &LogRecord) -> Result<()> {
        let encoded = record.encode()?;
        let part = (record.tablet, record.epoch);
        if self.count == 0 {
            (self.bytes, self.part) = (encoded, part);
        } else if self.part == part {
            self.bytes.extend_from_slice(&encoded);
        } else {
            return Err(Error::internal(format!("one append holds records of {:?} and of {part:?}", self.part)));
        }
        self.count += 1;
        Ok(())
    }

    pub(crate) fn one(record: &LogRecord) -> Result<Self> {
        let mut records = Self::default();
        records.push(record)?;
        Ok(records)
    }
}

/// Told the segment, or what went wrong.
pub(super) type Done = oneshot::Sender<Result<u64>>;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pieces: Vec<EncodedRecords>,
    bytes: usize,
    waiting: Vec<Done>,
}

impl Batch {
    pub(super) fn push(&mut self, records: EncodedRecords, done: Done) {
        self.bytes += records.bytes.len();
        self.pieces.push(records);
        self.waiting.push(done);
    }

    /// Bytes of records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of records.
    pub(super) fn records(&self) -> u32 {
        self.pieces.iter().map(|p| p.count).sum()
    }

    /// Whether nobody waits for it.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends the records to `out`, those of one part side by side, and notes them as lying from `at` on.
    pub(super) fn write(&mut self, at: u64, out: &mut Vec<u8>, index: &mut Index) {
        // Stable: the order within a part is the order of appending.
        self.pieces.sort_by_key(|p| p.part);
        let mut at = at;
        for piece in self.pieces.drain(..).filter(|p| p.count > 0) {
            let end = at + piece.bytes.len() as u64;
            index.add(piece.part, at..end);
            out.extend_from_slice(&piece.bytes);
            at = end;
        }
    }

    /// Tells everyone who waits.
    pub(super) fn finish(self, result: &Result<u64>) {
        for done in self.waiting {
            let _ = done.send(result.clone());
        }
    }
}
