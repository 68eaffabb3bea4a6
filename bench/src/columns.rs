//! Arrow batches: those of the three-column scan, and rows read from batches of all columns.

use crate::checksum::Checksum;
use crate::codec::Row;
use anyhow::{Context, Result};
use arrow_array::builder::{Float64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

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

/// Collects decoded rows into batches, as a rival's user would.
#[derive(Debug)]
pub struct ThreeBuilder {
    schema: SchemaRef,
    texts: StringBuilder,
    prices: Float64Builder,
    times: TimestampMicrosecondBuilder,
    rows: usize,
    batch: usize,
}

impl ThreeBuilder {
    /// Batches of `batch` rows.
    #[must_use]
    pub fn new(batch: usize) -> Self {
        let fields = [DataType::Utf8, DataType::Float64, DataType::Timestamp(TimeUnit::Microsecond, None)];
        let fields: Vec<_> = NAMES.iter().zip(fields).map(|(name, ty)| Field::new(*name, ty, true)).collect();
        Self::with_schema(Arc::new(Schema::new(fields)), batch)
    }

    fn with_schema(schema: SchemaRef, batch: usize) -> Self {
        Self {
            schema,
            texts: StringBuilder::with_capacity(batch, batch * 12),
            prices: Float64Builder::with_capacity(batch),
            times: TimestampMicrosecondBuilder::with_capacity(batch),
            rows: 0,
            batch,
        }
    }

    /// Adds a row; a batch once it is full.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn push(&mut self, event_type: &str, price: Option<f64>, received_at: i64) -> Result<Option<RecordBatch>> {
        self.texts.append_value(event_type);
        self.prices.append_option(price);
        self.times.append_value(received_at);
        self.rows += 1;
        if self.rows == self.batch { self.finish().map(Some) } else { Ok(None) }
    }

    /// The rows added since the last batch.
    ///
    /// # Errors
    /// If Arrow refuses the columns.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let mut full = std::mem::replace(self, Self::with_schema(self.schema.clone(), self.batch));
        let columns: Vec<ArrayRef> = vec![Arc::new(full.texts.finish()), Arc::new(full.prices.finish()), Arc::new(full.times.finish())];
        Ok(RecordBatch::try_new(full.schema, columns)?)
    }
}
