//! Writes of one row that depend on what the row holds.

use super::{Target, WireRow};
use crate::conditional::{CheckAndMutate, ReadModifyWrite};
use crate::{Result, envelope};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A write of one row that depends on what the row holds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConditionalRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// 16 random bytes, the same in every repetition of this write; empty: not to be repeated.
    #[prost(bytes = "bytes", tag = "2")]
    pub request_id: Bytes,
    /// A [`Conditional`] in its envelope.
    #[prost(bytes = "bytes", tag = "3")]
    pub record: Bytes,
}

/// What a [`ConditionalRequest`] asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Conditional {
    /// One of two lists of mutations.
    Check(CheckAndMutate),
    /// New values made of the newest ones.
    Modify(ReadModifyWrite),
}

/// Kind of a conditional write's record.
const CONDITIONAL_MAGIC: envelope::Magic = *b"STWC";
const CONDITIONAL_FORMAT: u16 = 1;

impl Conditional {
    /// The record.
    ///
    /// # Errors
    /// `Internal` if it has no encoding.
    pub fn encode(&self) -> Result<Bytes> {
        envelope::encode(CONDITIONAL_MAGIC, CONDITIONAL_FORMAT, self).map(Bytes::from)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn decode(record: &[u8]) -> Result<Self> {
        envelope::decode(CONDITIONAL_MAGIC, CONDITIONAL_FORMAT, record)
    }

    /// The row it is about.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Check(check) => &check.key,
            Self::Modify(modify) => &modify.key,
        }
    }
}

/// What became of a [`ConditionalRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConditionalResponse {
    /// Of a check: whether the predicate held.
    #[prost(bool, tag = "1")]
    pub matched: bool,
    /// [`Seq`](crate::ids::Seq); absent if nothing was written.
    #[prost(uint64, optional, tag = "2")]
    pub seq: Option<u64>,
    /// The server-given cell timestamp, µs.
    #[prost(sint64, tag = "3")]
    pub timestamp: i64,
    /// Of a read-modify-write: the changed columns with their new cells.
    #[prost(message, optional, tag = "4")]
    pub row: Option<WireRow>,
}
