//! Arrow batches: which columns scans ask for, rows read from batches of all columns, and the builder that rivals need.

#[cfg(any(test, feature = "peers"))]
mod builder;

#[cfg(any(test, feature = "peers"))]
pub use builder::ThreeBuilder;

use crate::checksum::Checksum;
use crate::codec::Row;
use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};

/// The columns of the scan.
pub const NAMES: [&str; 3] = ["event_type", "price", "received_at"];
/// Rows of a batch, for all engines that build their own.
pub const BATCH_ROWS: usize = 8_192;

/// All columns of the table, key parts first.
pub const ALL: [&str; 13] = [
    "user_id",
    "at",
    "event_id",
    "event_type",
    "session",
    "device",
    "country",
    "price",
    "quantity",
    "paid",
    "received_at",
    "message",
    "payload",
];

/// Reads a batch of all columns row by row.
///
/// # Errors
/// If a column is missing or of another type.
pub fn add_rows(batch: &RecordBatch, sum: &mut Checksum) -> Result<()> {
    let column = |name: &str| batch.column_by_name(name).with_context(|| format!("no column '{name}'"));
    let text = |name: &str| column(name).map(|c| c.as_string::<i32>());
    let number = |name: &str| column(name).map(|c| c.as_primitive::<Int64Type>());
    let time = |name: &str| column(name).map(|c| c.as_primitive::<TimestampMicrosecondType>());
    let (user_id, at, event_id) = (text("user_id")?, time("at")?, number("event_id")?);
    let (event_type, session, device, country) = (text("event_type")?, text("session")?, text("device")?, text("country")?);
    let (price, quantity) = (column("price")?.as_primitive::<Float64Type>(), number("quantity")?);
    let (paid, received_at) = (column("paid")?.as_boolean(), time("received_at")?);
    let (message, payload) = (text("message")?, text("payload")?);
    for i in 0..batch.num_rows() {
        sum.add(&Row {
            user_id: user_id.value(i),
            at: at.value(i),
            event_id: event_id.value(i),
            event_type: event_type.value(i),
            session: session.value(i),
            device: device.value(i),
            country: country.value(i),
            price: price.nulls().is_none_or(|n| n.is_valid(i)).then(|| price.value(i)),
            quantity: quantity.value(i),
            paid: paid.value(i),
            received_at: received_at.value(i),
            message: message.value(i),
            payload: payload.value(i),
        });
    }
    Ok(())
}
