//! Every bound of the data model, with its unit and its reason.

/// Bytes of a row key. Bigtable's limit.
pub const MAX_KEY_BYTES: usize = 4 << 10;
/// Bytes of a column qualifier. Bigtable's limit.
pub const MAX_QUALIFIER_BYTES: usize = 16 << 10;
/// Bytes of a family name. Bigtable's limit.
pub const MAX_FAMILY_NAME_BYTES: usize = 64;
/// Bytes of a table name (`dataset.name`): short enough for any URL, metric label or file name.
pub const MAX_TABLE_NAME_BYTES: usize = 128;
/// Bytes of one cell's value. Bigtable's limit.
pub const MAX_CELL_BYTES: usize = 100 << 20;
/// Bytes of one row as read. Bigtable's limit.
pub const MAX_ROW_BYTES: usize = 256 << 20;
/// Mutations of one write request, all rows together. Bigtable's limit.
pub const MAX_MUTATIONS_PER_REQUEST: usize = 100_000;
/// Bytes of one RPC message. A write request must fit, so it is above one cell.
pub const MAX_RPC_MESSAGE_BYTES: usize = 128 << 20;
/// Bytes of one line of an ingest stream: one row as JSON.
pub const MAX_INGEST_LINE_BYTES: usize = 64 << 20;
/// Bytes that a durable record may claim to decode into: guards against corrupt lengths.
pub const MAX_RECORD_BYTES: usize = 512 << 20;

const _: () = assert!(MAX_CELL_BYTES < MAX_RPC_MESSAGE_BYTES);
const _: () = assert!(MAX_CELL_BYTES < MAX_ROW_BYTES);
const _: () = assert!(MAX_KEY_BYTES < MAX_QUALIFIER_BYTES);
const _: () = assert!(MAX_RPC_MESSAGE_BYTES < MAX_RECORD_BYTES);
