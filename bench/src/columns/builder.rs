//! The batches of the three-column scan from decoded rows.

use super::NAMES;
use anyhow::Result;
use arrow_array::builder::{Float64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

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
