//! Messages of `google.bigtable.v2`, with its field numbers: what is needed to write rows.

use bytes::Bytes;

/// Changes one row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MutateRowRequest {
    /// `projects/P/instances/I/tables/T`.
    #[prost(string, tag = "1")]
    pub table_name: String,
    /// The row key.
    #[prost(bytes = "bytes", tag = "2")]
    pub row_key: Bytes,
    /// The changes, in order.
    #[prost(message, repeated, tag = "3")]
    pub mutations: Vec<Mutation>,
    /// A view instead of a table.
    #[prost(string, tag = "6")]
    pub authorized_view_name: String,
}

/// The row is changed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct MutateRowResponse {}

/// Changes rows, each by itself.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MutateRowsRequest {
    /// `projects/P/instances/I/tables/T`.
    #[prost(string, tag = "1")]
    pub table_name: String,
    /// The rows.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<RowEntry>,
    /// A view instead of a table.
    #[prost(string, tag = "5")]
    pub authorized_view_name: String,
}

/// `MutateRowsRequest.Entry`: changes to one row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RowEntry {
    /// The row key.
    #[prost(bytes = "bytes", tag = "1")]
    pub row_key: Bytes,
    /// The changes, in order.
    #[prost(message, repeated, tag = "2")]
    pub mutations: Vec<Mutation>,
}

/// What became of some of the rows.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MutateRowsResponse {
    /// Each names a row of the request.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<RowOutcome>,
}

/// `MutateRowsResponse.Entry`: what became of one row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RowOutcome {
    /// Its place in the request, from 0.
    #[prost(int64, tag = "1")]
    pub index: i64,
    /// Code 0: it is changed, durably.
    #[prost(message, optional, tag = "2")]
    pub status: Option<RpcStatus>,
}

/// One change to a row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Mutation {
    /// `None` for a kind that is not known here.
    #[prost(oneof = "Change", tags = "1, 2, 3, 4, 5, 6")]
    pub mutation: Option<Change>,
}

/// `Mutation.mutation`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Change {
    /// Sets a cell.
    #[prost(message, tag = "1")]
    SetCell(SetCell),
    /// Deletes cells of a column.
    #[prost(message, tag = "2")]
    DeleteFromColumn(DeleteFromColumn),
    /// Deletes a family of the row.
    #[prost(message, tag = "3")]
    DeleteFromFamily(DeleteFromFamily),
    /// Deletes the row.
    #[prost(message, tag = "4")]
    DeleteFromRow(DeleteFromRow),
    /// Adds to an aggregate.
    #[prost(message, tag = "5")]
    AddToCell(Aggregated),
    /// Merges into an aggregate.
    #[prost(message, tag = "6")]
    MergeToCell(Aggregated),
}

/// `Mutation.SetCell`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetCell {
    /// The family.
    #[prost(string, tag = "1")]
    pub family_name: String,
    /// The column.
    #[prost(bytes = "bytes", tag = "2")]
    pub column_qualifier: Bytes,
    /// µs since the Unix epoch, whole milliseconds; -1: the server's.
    #[prost(int64, tag = "3")]
    pub timestamp_micros: i64,
    /// The value.
    #[prost(bytes = "bytes", tag = "4")]
    pub value: Bytes,
}

/// `Mutation.DeleteFromColumn`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteFromColumn {
    /// The family.
    #[prost(string, tag = "1")]
    pub family_name: String,
    /// The column.
    #[prost(bytes = "bytes", tag = "2")]
    pub column_qualifier: Bytes,
    /// Absent: all cells.
    #[prost(message, optional, tag = "3")]
    pub time_range: Option<TimestampRange>,
}

/// Cell timestamps, µs.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct TimestampRange {
    /// Inclusive.
    #[prost(int64, tag = "1")]
    pub start_timestamp_micros: i64,
    /// Exclusive; 0: no bound.
    #[prost(int64, tag = "2")]
    pub end_timestamp_micros: i64,
}

/// `Mutation.DeleteFromFamily`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteFromFamily {
    /// The family.
    #[prost(string, tag = "1")]
    pub family_name: String,
}

/// `Mutation.DeleteFromRow`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct DeleteFromRow {}

/// `Mutation.AddToCell` and `Mutation.MergeToCell`, of which nothing but the kind is looked at.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Aggregated {}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    /// A gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// [`RetryInfo`], where that helps.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    /// What `value` is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// A message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RetryInfo {
    /// How long to wait before the same is sent again.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<Duration>,
}

impl RetryInfo {
    /// Its type in an [`Any`].
    pub const TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Duration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    /// Made by Google's client for Python: one mutation of each kind.
    const ROWS: &str = "0a2370726f6a656374732f702f696e7374616e6365732f692f7461626c65732f7261772e74124e0a016b12160a140a016612017118ffffffffffff\
        ffffff012201761210120e0a01661201711a0608e80710d00f12051a030a01661202220012092a070a016622023005120932070a0166220230051a0161";
    const ROW: &str = "0a017412016b1a022200220161320176";
    const OUTCOMES: &str = "0a3d08031239080812016d1a320a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e5265747279496e666f\
        12060a0408021005";

    #[test]
    fn requests_of_the_public_clients_are_read() {
        let request = MutateRowsRequest::decode(bytes(ROWS).as_slice()).unwrap();
        let (family_name, column_qualifier) = ("f".to_owned(), Bytes::from_static(b"q"));
        let range = TimestampRange { start_timestamp_micros: 1000, end_timestamp_micros: 2000 };
        let set = SetCell {
            family_name: family_name.clone(),
            column_qualifier: column_qualifier.clone(),
            timestamp_micros: -1,
            value: Bytes::from_static(b"v"),
        };
        let delete = DeleteFromColumn { family_name: family_name.clone(), column_qualifier, time_range: Some(range) };
        let all = [
            Change::SetCell(set),
            Change::DeleteFromColumn(delete),
            Change::DeleteFromFamily(DeleteFromFamily { family_name }),
            Change::DeleteFromRow(DeleteFromRow {}),
            Change::AddToCell(Aggregated {}),
            Change::MergeToCell(Aggregated {}),
        ];
        let mutations = all.map(|change| Mutation { mutation: Some(change) }).to_vec();
        let entry = RowEntry { row_key: Bytes::from_static(b"k"), mutations };
        assert_eq!((request.table_name.as_str(), request.entries), ("projects/p/instances/i/tables/raw.t", vec![entry]));

        let request = MutateRowRequest::decode(bytes(ROW).as_slice()).unwrap();
        assert_eq!((request.table_name.as_str(), request.row_key.as_ref(), request.mutations.len()), ("t", b"k".as_slice(), 1));
        assert_eq!(request.authorized_view_name, "v");
    }

    #[test]
    fn answers_are_what_the_public_clients_read() {
        let delay = RetryInfo { retry_delay: Some(Duration { seconds: 2, nanos: 5 }) };
        let details = vec![Any { type_url: RetryInfo::TYPE.into(), value: delay.encode_to_vec().into() }];
        let status = RpcStatus { code: 8, message: "m".into(), details };
        let answer = MutateRowsResponse { entries: vec![RowOutcome { index: 3, status: Some(status) }] };
        assert_eq!(answer.encode_to_vec(), bytes(OUTCOMES));
    }
}
