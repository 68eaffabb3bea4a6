//! Whole batches: rows in, record batches out.

use super::column::ColumnBuilder;
use super::projection::{Projection, SlotKind};
use super::value::{lacks_prefix, wrong};
use arrow_array::builder::Int8Builder;
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use common::row::{Cell, Row};
use common::{Error, Result};
use std::sync::Arc;

/// Collects rows into one record batch after another.
pub struct BatchBuilder {
    projection: Arc<Projection>,
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    /// Tells images apart; only in change scans.
    images: Option<Int8Builder>,
    rows: usize,
    bytes: usize,
    /// The text or bytes of the key part that is being decoded.
    scratch: Vec<u8>,
}

impl BatchBuilder {
    /// A builder of a scan's batches.
    #[must_use]
    pub fn new(projection: Arc<Projection>) -> Self {
        let (schema, columns) = (projection.schema().clone(), projection.builders());
        Self { projection, schema, columns, images: None, rows: 0, bytes: 0, scratch: Vec::new() }
    }

    /// A builder of a change scan's batches, whose last column (int8, of this name) tells images apart.
    #[must_use]
    pub fn with_images(projection: Arc<Projection>, name: &str) -> Self {
        let mut out = Self::new(projection);
        let mut fields = out.schema.fields().to_vec();
        fields.push(Arc::new(Field::new(name, DataType::Int8, false)));
        out.schema = Arc::new(Schema::new(fields));
        out.images = Some(Int8Builder::new());
        out
    }

    /// The batches' schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows pushed since the last batch.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About the bytes of those rows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row.
    ///
    /// # Errors
    /// `Corrupt`, naming table, column and key, if a value is not one of its column's type. The builder must not be used then.
    pub fn push(&mut self, row: &Row) -> Result<()> {
        let projection = self.projection.clone();
        self.push_key(&projection, &row.key)?;
        self.push_cells(&projection, row)?;
        self.rows += 1;
        Ok(())
    }

    /// Adds one image of a changed row.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_image(&mut self, row: &Row, image: i8) -> Result<()> {
        self.push(row)?;
        if let Some(images) = &mut self.images {
            images.append_value(image);
        }
        Ok(())
    }

    /// The rows pushed so far as one batch.
    ///
    /// # Errors
    /// `Internal` if the arrays do not fit the schema.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let mut arrays: Vec<_> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        if let Some(images) = &mut self.images {
            arrays.push(Arc::new(images.finish()));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|e| Error::internal(format!("batch of table '{}': {e}", self.projection.table().name)))
    }

    fn push_key(&mut self, projection: &Projection, key: &[u8]) -> Result<()> {
        if let Some(output) = projection.row_key {
            self.columns[output].push_bytes(key)?;
        }
        if !projection.parts.is_empty() {
            self.push_parts(projection, key)?;
        }
        self.bytes += key.len();
        Ok(())
    }

    fn push_parts(&mut self, projection: &Projection, key: &[u8]) -> Result<()> {
        let table = projection.table();
        let mut rest = key.strip_prefix(projection.key_prefix.as_slice()).ok_or_else(|| lacks_prefix(table, key))?;
        for (at, (codec, output)) in projection.parts.iter().enumerate() {
            let named = |e: Error| wrong(table, &table.key[at].name, key, &e);
            let value = codec.decode_ref(&mut rest, &mut self.scratch).map_err(named)?;
            if let Some(output) = output {
                self.columns[*output].push_part(value).map_err(named)?;
            }
        }
        Ok(())
    }

    fn push_cells(&mut self, projection: &Projection, row: &Row) -> Result<()> {
        let mut rest = row.cells.as_slice();
        for slot in &projection.slots {
            let cells = slot.take(&mut rest);
            let column = &mut self.columns[slot.output];
            let pushed = match slot.kind {
                SlotKind::Column(_) => match cells.first() {
                    Some(cell) => column.push_cell(&cell.value),
                    None => {
                        column.push_null();
                        Ok(())
                    }
                },
                SlotKind::Attributes | SlotKind::Family => push_map(column, cells, slot.qualifier.len()),
            };
            pushed.map_err(|e| wrong(projection.table(), self.schema.field(slot.output).name(), &row.key, &e))?;
            self.bytes += cells.iter().map(|c| c.qualifier.len() + c.value.len()).sum::<usize>();
        }
        Ok(())
    }
}

/// Adds the newest version of each column of a family; names begin after `tag` bytes of their stored form.
fn push_map(column: &mut ColumnBuilder, cells: &[Cell], tag: usize) -> Result<()> {
    for (at, cell) in cells.iter().enumerate() {
        if at == 0 || cells[at - 1].qualifier != cell.qualifier {
            column.push_entry(&cell.qualifier[tag..], &cell.value).map_err(|e| e.context(cell.qualifier[tag..].escape_ascii()))?;
        }
    }
    column.end_map(!cells.is_empty())
}
