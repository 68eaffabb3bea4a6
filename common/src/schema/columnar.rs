//! How a table looks in Arrow: to SQL, in scans and in change scans.

use super::table::Table;
use crate::value::ValueType;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// Field metadata that marks text as JSON.
const JSON_KEY: &str = "stele:json";

/// The Arrow type of a value type. Times are UTC without a zone; JSON is text, marked in the field.
#[must_use]
pub fn arrow_type(ty: ValueType) -> DataType {
    match ty {
        ValueType::Int64 => DataType::Int64,
        ValueType::Float64 => DataType::Float64,
        ValueType::String | ValueType::Json => DataType::Utf8,
        ValueType::Bool => DataType::Boolean,
        ValueType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ValueType::Date => DataType::Date32,
        ValueType::Bytes => DataType::Binary,
    }
}

/// Whether a field holds JSON documents as text.
#[must_use]
pub fn is_json(field: &Field) -> bool {
    field.metadata().contains_key(JSON_KEY)
}

fn field(name: &str, ty: ValueType, nullable: bool) -> Field {
    let field = Field::new(name, arrow_type(ty), nullable);
    if ty == ValueType::Json { field.with_metadata(HashMap::from([(JSON_KEY.into(), "1".into())])) } else { field }
}

fn map_field(name: &str, key: DataType, value: DataType) -> Field {
    let entry = Fields::from(vec![Field::new("keys", key, false), Field::new("values", value, true)]);
    let entries = Field::new("entries", DataType::Struct(entry), false);
    Field::new(name, DataType::Map(Arc::new(entries), false), true)
}

impl Table {
    /// Name of the column that holds the raw row key of a table without key parts.
    pub const ROW_KEY: &'static str = "row_key";

    /// The table's columns in SQL, in order: key parts (`row_key: binary` if there are none), declared columns,
    /// then one map for each family that may hold undeclared columns: the family of undeclared
    /// attributes as text → JSON text, any other as binary → binary. Hidden parts and families are left out.
    #[must_use]
    pub fn arrow_schema(&self) -> SchemaRef {
        self.schema_with(false)
    }

    /// [`Self::arrow_schema`] with hidden key parts and hidden families (binary → binary) at the end:
    /// every name that a scan request may ask for.
    #[must_use]
    pub fn full_arrow_schema(&self) -> SchemaRef {
        self.schema_with(true)
    }

    fn schema_with(&self, hidden: bool) -> SchemaRef {
        let mut fields = Vec::new();
        if self.key.is_empty() {
            fields.push(Field::new(Self::ROW_KEY, DataType::Binary, false));
        }
        let part = |p: &super::KeyPart| field(&p.name, p.codec.ty, p.codec.nullable);
        fields.extend(self.key.iter().filter(|p| !p.hidden).map(part));
        fields.extend(self.columns.iter().map(|c| field(&c.name, c.ty, true)));
        for family in self.families.iter().filter(|f| !f.hidden) {
            if Some(family.id) == self.undeclared {
                fields.push(map_field(&family.name, DataType::Utf8, DataType::Utf8));
            } else if self.key.is_empty() {
                fields.push(map_field(&family.name, DataType::Binary, DataType::Binary));
            }
        }
        if hidden {
            fields.extend(self.key.iter().filter(|p| p.hidden).map(part));
            fields.extend(self.families.iter().filter(|f| f.hidden).map(|f| map_field(&f.name, DataType::Binary, DataType::Binary)));
        }
        Arc::new(Schema::new(fields))
    }
}
