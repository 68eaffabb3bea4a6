//! Messages that write.

use super::{Target, WireRange, WireTimes};
use crate::ids::FamilyId;
use crate::row::{Aggregate, Mutation, RowMutation};
use crate::time::{Micros, TimeRange};
use crate::{Error, Result};
use bytes::Bytes;

/// One [`Mutation`]; `kind` says which fields count.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireMutation {
    /// 0 set, 1 delete column, 2 delete family, 3 delete row, 4 combine.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// [`FamilyId`].
    #[prost(uint32, tag = "2")]
    pub family: u32,
    /// Stored qualifier.
    #[prost(bytes = "bytes", tag = "3")]
    pub qualifier: Bytes,
    /// Value of a set; 8 bytes, a big-endian integer, of a combine.
    #[prost(bytes = "bytes", tag = "4")]
    pub value: Bytes,
    /// Timestamp of a set or a combine, µs.
    #[prost(sint64, optional, tag = "5")]
    pub timestamp: Option<i64>,
    /// Timestamps of a column delete.
    #[prost(message, optional, tag = "6")]
    pub timestamps: Option<WireTimes>,
    /// Of a combine: 1 sum, 2 minimum, 3 maximum.
    #[prost(uint32, tag = "7")]
    pub aggregate: u32,
}

impl WireMutation {
    fn combine(self) -> Result<Mutation> {
        let aggregate = match self.aggregate {
            1 => Aggregate::Sum,
            2 => Aggregate::Min,
            3 => Aggregate::Max,
            other => return Err(Error::invalid(format!("aggregate of unknown kind {other}"))),
        };
        let wrong = || Error::invalid(format!("an aggregate's value of {} bytes; it must be an integer of 8", self.value.len()));
        let value = self.value.as_ref().try_into().map(i64::from_be_bytes).map_err(|_| wrong())?;
        let timestamp = self.timestamp.map(Micros).ok_or_else(|| Error::invalid("an aggregate needs a timestamp: it names the cell"))?;
        Ok(Mutation::Combine { family: FamilyId(self.family), qualifier: self.qualifier, timestamp, aggregate, value })
    }
}

impl From<Mutation> for WireMutation {
    fn from(m: Mutation) -> Self {
        match m {
            Mutation::Set { family, qualifier, timestamp, value } => {
                Self { kind: 0, family: family.0, qualifier, value, timestamp: timestamp.map(|t| t.0), ..Self::default() }
            }
            Mutation::Combine { family, qualifier, timestamp, aggregate, value } => {
                let aggregate = match aggregate {
                    Aggregate::Sum => 1,
                    Aggregate::Min => 2,
                    Aggregate::Max => 3,
                };
                let value = Bytes::copy_from_slice(&value.to_be_bytes());
                Self { kind: 4, family: family.0, qualifier, value, timestamp: Some(timestamp.0), aggregate, ..Self::default() }
            }
            Mutation::DeleteColumn { family, qualifier, timestamps } => {
                Self { kind: 1, family: family.0, qualifier, timestamps: Some(timestamps.into()), ..Self::default() }
            }
            Mutation::DeleteFamily { family } => Self { kind: 2, family: family.0, ..Self::default() },
            Mutation::DeleteRow => Self { kind: 3, ..Self::default() },
        }
    }
}

impl TryFrom<WireMutation> for Mutation {
    type Error = Error;

    fn try_from(m: WireMutation) -> Result<Self> {
        let family = FamilyId(m.family);
        Ok(match m.kind {
            0 => Self::Set { family, qualifier: m.qualifier, timestamp: m.timestamp.map(Micros), value: m.value },
            1 => Self::DeleteColumn { family, qualifier: m.qualifier, timestamps: m.timestamps.map_or(TimeRange::ALL, Into::into) },
            2 => Self::DeleteFamily { family },
            3 => Self::DeleteRow,
            4 => return m.combine(),
            other => return Err(Error::invalid(format!("mutation of unknown kind {other}"))),
        })
    }
}

/// One [`RowMutation`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireRowMutation {
    /// The row key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The changes, in order.
    #[prost(message, repeated, tag = "2")]
    pub mutations: Vec<WireMutation>,
}

impl From<RowMutation> for WireRowMutation {
    fn from(m: RowMutation) -> Self {
        Self { key: m.key, mutations: m.mutations.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<WireRowMutation> for RowMutation {
    type Error = Error;

    fn try_from(m: WireRowMutation) -> Result<Self> {
        Ok(Self { key: m.key, mutations: m.mutations.into_iter().map(TryInto::try_into).collect::<Result<_>>()? })
    }
}

/// Writes rows of one tablet; each row by itself is atomic and gets its own result.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// 16 random bytes, the same in every repetition of this write; empty: not to be repeated.
    #[prost(bytes = "bytes", tag = "2")]
    pub request_id: Bytes,
    /// The rows.
    #[prost(message, repeated, tag = "3")]
    pub rows: Vec<WireRowMutation>,
    /// Sent by Stele itself: may write system tables and hidden families. Derived tables are written by runs alone.
    #[prost(bool, tag = "4")]
    pub internal: bool,
}

/// One result a row, in the order of the request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteResponse {
    /// What became of each row.
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<RowResult>,
}

/// Deletes all rows of a range within one tablet, at once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRangeRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// 16 random bytes, the same in every repetition of this delete; empty: not to be repeated.
    #[prost(bytes = "bytes", tag = "2")]
    pub request_id: Bytes,
    /// The rows; all of it lies in the tablet.
    #[prost(message, optional, tag = "3")]
    pub range: Option<WireRange>,
}

/// The rows of a range are deleted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRangeResponse {
    /// What was written at this seq or before is hidden.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// The time that the server gave, µs.
    #[prost(sint64, tag = "2")]
    pub timestamp: i64,
}

/// What became of one row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RowResult {
    /// Its seq; 0 if it was refused.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// The server-given cell timestamp, µs.
    #[prost(sint64, tag = "2")]
    pub timestamp: i64,
    /// Why it was refused: an [`Error`] as JSON; empty if it was written.
    #[prost(bytes = "bytes", tag = "3")]
    pub error: Bytes,
}

impl RowResult {
    /// A refusal.
    #[must_use]
    pub fn refused(e: &Error) -> Self {
        Self { seq: 0, timestamp: 0, error: serde_json::to_vec(e).unwrap_or_default().into() }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        if self.error.is_empty() {
            return None;
        }
        Some(serde_json::from_slice(&self.error).unwrap_or_else(|_| Error::internal("row refused without a readable reason")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn mutations_are_the_same_behind_the_wire() {
        let (family, qualifier) = (FamilyId(3), Bytes::from_static(b"q"));
        let combine = |aggregate| Mutation::Combine { family, qualifier: qualifier.clone(), timestamp: Micros(-5), aggregate, value: -7 };
        let set = Mutation::Set { family, qualifier: qualifier.clone(), timestamp: None, value: Bytes::from_static(b"v") };
        let delete = Mutation::DeleteColumn { family, qualifier: qualifier.clone(), timestamps: TimeRange::ALL };
        let mut all = vec![set, delete, Mutation::DeleteFamily { family }, Mutation::DeleteRow];
        all.extend([Aggregate::Sum, Aggregate::Min, Aggregate::Max].map(combine));
        for m in all {
            let bytes = WireMutation::from(m.clone()).encode_to_vec();
            assert_eq!(Mutation::try_from(WireMutation::decode(bytes.as_slice()).unwrap()).unwrap(), m);
        }
        let wire = WireMutation::from(combine(Aggregate::Sum));
        let wrong = [
            WireMutation { aggregate: 0, ..wire.clone() },
            WireMutation { aggregate: 4, ..wire.clone() },
            WireMutation { timestamp: None, ..wire.clone() },
            WireMutation { value: Bytes::from_static(b"1234567"), ..wire },
        ];
        for m in wrong {
            assert_eq!(Mutation::try_from(m).unwrap_err().kind, crate::ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn a_mutation_of_an_older_sender_is_still_read() {
        // Tags 1 to 5, as they were before there were aggregates: kind 0, family 3, "q", "v", timestamp 7.
        let bytes = [0x10, 3, 0x1a, 1, b'q', 0x22, 1, b'v', 0x28, 14];
        let set = Mutation::Set {
            family: FamilyId(3),
            qualifier: Bytes::from_static(b"q"),
            timestamp: Some(Micros(7)),
            value: Bytes::from_static(b"v"),
        };
        assert_eq!(Mutation::try_from(WireMutation::decode(bytes.as_slice()).unwrap()).unwrap(), set);
        assert_eq!(WireMutation::from(set).encode_to_vec(), bytes, "an older receiver reads what is sent");
    }
}
