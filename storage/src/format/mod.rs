//! Names and codecs of what is durable: reduced rows, log records, manifests. See `FORMAT.md` for the bytes.

mod manifest;
pub mod names;
mod record;
mod row;
mod rows;
mod slice;

pub use common::objects::SstableName;
pub use manifest::{LogName, LogPart, MANIFEST_FORMAT, MANIFEST_MAGIC, Manifest, NO_SEGMENT, SstableRef, StagedRef};
pub use record::{LogBody, LogRecord, Outcome, RECORD_FORMAT, RECORD_MAGIC, Remembered};
pub use row::{CellKind, Delete, StoredCell, StoredRow};
pub(crate) use row::{combine, integer, integer_bytes, joined};
pub use rows::{CellRef, Draft, RowPlace, RowRef, Rows};
pub(crate) use rows::{Columns, RowBuffer, Shapes};
pub use slice::{Slice, SliceKey};
