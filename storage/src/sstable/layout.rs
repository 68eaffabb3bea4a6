//! How a writer lays an SSTable out: sizes, and what is known of columns beforehand.

use crate::EngineConfig;
use bytes::Bytes;
use common::ids::FamilyId;
use common::schema::{KeyPart, KeySchema, Table, TableKind};
use common::value::ValueType;
use std::collections::HashMap;
use std::sync::Arc;

/// The most rows of a block: what a reader accepts.
pub(super) const MAX_BLOCK_ROWS: usize = 1 << 16;

/// What a column's values look like, from its declared type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// 8 bytes, ordered as big-endian signed integers.
    Int,
    /// 8 bytes, ordered as big-endian doubles.
    Float,
    /// One byte, 0 or 1.
    Bool,
    /// Any bytes, ordered as such.
    Bytes,
}

impl Kind {
    fn of(ty: ValueType) -> Self {
        match ty {
            ValueType::Int64 | ValueType::Timestamp | ValueType::Date => Self::Int,
            ValueType::Float64 => Self::Float,
            ValueType::Bool => Self::Bool,
            ValueType::String | ValueType::Bytes | ValueType::Json => Self::Bytes,
        }
    }
}

/// See the module's page. The fields of the same names in [`EngineConfig`] say what they trade.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) block_bytes: usize,
    pub(crate) block_rows: usize,
    pub(crate) wide_block_bytes: usize,
    pub(crate) stripe_bytes: usize,
    pub(crate) wide_value_bytes: usize,
    pub(crate) cell_block_cells: usize,
    pub(crate) cell_block_bytes: usize,
    /// Declared columns by family and stored qualifier.
    pub(crate) kinds: Arc<HashMap<(FamilyId, Bytes), Kind>>,
    pub(crate) prefix: Option<KeyPrefix>,
}

/// What lies before the event time in a table's keys.
#[derive(Clone, Debug)]
pub(crate) struct KeyPrefix {
    parts: Arc<[KeyPart]>,
    derived: bool,
    time: usize,
}

impl Layout {
    pub(crate) fn new(config: &EngineConfig, table: &Table) -> Self {
        let kinds = table.columns.iter().map(|c| ((c.family, c.stored()), Kind::of(c.ty))).collect();
        let time = table.time_column.as_ref().and_then(|name| table.key_part(name)).map(|(at, _)| at);
        let derived = table.kind == TableKind::Derived;
        let prefix = time.map(|time| KeyPrefix { parts: table.key.clone().into(), derived, time });
        Self {
            block_bytes: config.block_bytes,
            block_rows: config.block_rows.clamp(1, MAX_BLOCK_ROWS),
            wide_block_bytes: config.wide_block_bytes,
            stripe_bytes: config.stripe_bytes,
            wide_value_bytes: config.wide_value_bytes,
            cell_block_cells: config.cell_block_cells,
            cell_block_bytes: config.cell_block_bytes,
            kinds: Arc::new(kinds),
            prefix,
        }
    }

    /// Small blocks and no declared columns.
    #[cfg(test)]
    pub(crate) fn small(block_bytes: usize) -> Self {
        Self {
            block_bytes,
            block_rows: 64,
            wide_block_bytes: block_bytes / 2,
            stripe_bytes: block_bytes * 8,
            wide_value_bytes: 64,
            cell_block_cells: 24,
            cell_block_bytes: block_bytes * 2,
            kinds: Arc::default(),
            prefix: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_kinds(self, kinds: impl IntoIterator<Item = ((FamilyId, Bytes), Kind)>) -> Self {
        Self { kinds: Arc::new(kinds.into_iter().collect()), ..self }
    }

    /// Whether a row of so many cells and bytes goes into a columnar block.
    pub(crate) fn is_small(&self, cells: usize, bytes: usize) -> bool {
        cells <= self.cell_block_cells && bytes <= self.cell_block_bytes
    }

    /// What is declared of a column.
    pub(super) fn kind(&self, family: FamilyId, qualifier: &Bytes) -> Option<Kind> {
        if self.kinds.is_empty() { None } else { self.kinds.get(&(family, qualifier.clone())).copied() }
    }

    /// Bytes of a key before its event time, if it has one.
    pub(super) fn prefix_len(&self, key: &[u8]) -> Option<usize> {
        let prefix = self.prefix.as_ref()?;
        KeySchema::new(&prefix.parts, prefix.derived).with_time(Some(prefix.time)).prefix_len(key)
    }
}
