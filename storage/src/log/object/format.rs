//! The bytes of a log object.
//!
//! ```text
//! header    envelope STLO, version 1: log, number, nonce, kind (0 records, 1 fence)
//! records   each an envelope STLR, those of one tablet and epoch side by side
//! index, footer (`log/index.rs`)
//! ```
//!
//! A fence is a header, nothing else.

use crate::format::LogName;
use crate::log::batch::Batch;
use crate::log::index::{Index, footer};
use bytes::Bytes;
use common::envelope::{self, Magic};
use common::{Error, Result};
use serde::{Deserialize, Serialize};

const MAGIC: Magic = *b"STLO";
const FORMAT: u16 = 1;
/// A header is shorter than this.
pub(crate) const MAX_HEADER_BYTES: u64 = 128;

/// What an object of the log's sequence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ObjectKind {
    Records,
    Fence,
}

/// The start of an object: which it is, and whose put it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectHeader {
    pub(crate) log: LogName,
    pub(crate) number: u64,
    pub(crate) nonce: u128,
    pub(crate) kind: ObjectKind,
}

impl ObjectHeader {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        envelope::encode(MAGIC, FORMAT, self)
    }

    /// Whether `bytes` mean to be an object of a log.
    pub(crate) fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// The header at the start of an object, and how long it is.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, usize)> {
        let (version, payload, length) = envelope::open(MAGIC, bytes)?;
        if version != FORMAT {
            return Err(Error::corrupt(format!("log object: format version {version}, this build reads {FORMAT}")));
        }
        Ok((envelope::decode_payload(MAGIC, payload)?, length))
    }

    /// The header at the start of object `number`.
    ///
    /// # Errors
    /// `Corrupt`, naming what does not fit.
    pub(crate) fn decode(bytes: &[u8], log: LogName, number: u64) -> Result<Self> {
        let (header, _) = Self::read(bytes)?;
        let right = (header.log, header.number) == (log, number);
        if right { Ok(header) } else { Err(Error::corrupt(format!("log object: it says {header:?}"))) }
    }
}

/// A whole object of records, and what it holds.
pub(crate) fn encode_records(log: LogName, number: u64, nonce: u128, batch: &mut Batch) -> Result<(Bytes, Index)> {
    let mut out = ObjectHeader { log, number, nonce, kind: ObjectKind::Records }.encode()?;
    let mut index = Index::default();
    out.reserve(batch.bytes() + 256);
    batch.write(out.len() as u64, &mut out, &mut index);
    let (at, encoded) = (out.len() as u64, index.encode(log, number)?);
    out.extend_from_slice(&encoded);
    out.extend_from_slice(&footer(at, encoded.len())?);
    Ok((out.into(), index))
}
