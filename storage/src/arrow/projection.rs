//! From column names to key parts and cells.

use super::column::ColumnBuilder;
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use common::ids::FamilyId;
use common::key::PartCodec;
use common::row::{Cell, Columns, Row};
use common::schema::{StoredQualifier, Table};
use common::value::ValueType;
use common::{Error, Result};
use std::sync::Arc;

/// The asked columns of one table: where each comes from, in the order in which keys and rows hold them,
/// so that one pass over a row fills all of them.
#[derive(Debug)]
pub struct Projection {
    table: Arc<Table>,
    schema: SchemaRef,
    /// Output position of the raw row key, if it is asked for.
    pub(super) row_key: Option<usize>,
    /// Bytes in front of the first key part.
    pub(super) key_prefix: Vec<u8>,
    /// Key parts up to the last one asked for, with their output positions.
    pub(super) parts: Vec<(PartCodec, Option<usize>)>,
    /// Asked columns and families, sorted as the cells of a row are.
    pub(super) slots: Vec<Slot>,
}

/// What one output column takes from a row's cells.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) family: FamilyId,
    /// A column's stored qualifier, or what the stored qualifiers of all undeclared columns begin with.
    pub(super) qualifier: Bytes,
    pub(super) kind: SlotKind,
    pub(super) output: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotKind {
    /// A declared column.
    Column(ValueType),
    /// Undeclared attributes: text → JSON text.
    Attributes,
    /// Undeclared columns of any other family: binary → binary.
    Family,
}

enum Source {
    RowKey,
    Part(usize),
    Cells(FamilyId, Bytes, SlotKind),
}

impl Projection {
    /// The columns `names` of `table`, in this order.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that the table does not have, or one asked for twice.
    pub fn new(table: Arc<Table>, names: &[String]) -> Result<Self> {
        let all = table.full_arrow_schema();
        let mut out = Self {
            row_key: None,
            key_prefix: table.key_schema().prefix(),
            parts: table.key.iter().map(|p| (p.codec, None)).collect(),
            slots: Vec::new(),
            schema: Arc::new(Schema::empty()),
            table,
        };
        let mut fields = Vec::with_capacity(names.len());
        for (output, name) in names.iter().enumerate() {
            if names[..output].contains(name) {
                return Err(Error::invalid(format!("table '{}': column '{name}' is asked for twice", out.table.name)));
            }
            let field = all.field_with_name(name).map_err(|_| out.unknown(name))?;
            fields.push(field.clone());
            match out.source(name).ok_or_else(|| out.unknown(name))? {
                Source::RowKey => out.row_key = Some(output),
                Source::Part(at) => out.parts[at].1 = Some(output),
                Source::Cells(family, qualifier, kind) => out.slots.push(Slot { family, qualifier, kind, output }),
            }
        }
        out.parts.truncate(out.parts.iter().rposition(|(_, output)| output.is_some()).map_or(0, |last| last + 1));
        out.slots.sort_by(|a, b| (a.family, &a.qualifier).cmp(&(b.family, &b.qualifier)));
        out.schema = Arc::new(Schema::new(fields));
        Ok(out)
    }

    fn unknown(&self, name: &str) -> Error {
        let fields = self.table.arrow_schema();
        let known: Vec<_> = fields.fields().iter().map(|f| f.name().as_str()).collect();
        Error::invalid(format!("table '{}' has no column '{name}'; it has {}", self.table.name, known.join(", ")))
    }

    fn source(&self, name: &str) -> Option<Source> {
        let table = &self.table;
        if let Some((at, _)) = table.key_part(name) {
            return Some(Source::Part(at));
        }
        if let Some(c) = table.column(name) {
            return Some(Source::Cells(c.family, c.stored(), SlotKind::Column(c.ty)));
        }
        if table.key.is_empty() && name == Table::ROW_KEY {
            return Some(Source::RowKey);
        }
        let family = table.family(name)?.id;
        let kind = if table.undeclared == Some(family) { SlotKind::Attributes } else { SlotKind::Family };
        // The name of no bytes: every other undeclared name begins with its stored form.
        Some(Source::Cells(family, StoredQualifier::Named(Bytes::new()).encode(), kind))
    }

    /// The output's Arrow schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether these are its columns, in this order.
    pub(super) fn shows(&self, names: &[String]) -> bool {
        let fields = self.schema.fields();
        fields.len() == names.len() && fields.iter().zip(names).all(|(field, name)| field.name() == name)
    }

    /// The table it reads.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// What the engine has to return of each row. A row that has none of it still counts: read with
    /// [`common::row::ReadSpec::keep_empty_rows`].
    #[must_use]
    pub fn columns(&self) -> Columns {
        if self.wants_everything() {
            return Columns::All;
        }
        let column = |s: &Slot| (s.family, matches!(s.kind, SlotKind::Column(_)).then(|| s.qualifier.clone()));
        Columns::Some(self.slots.iter().map(column).collect())
    }

    /// Whether picking columns would leave out nothing but row markers.
    fn wants_everything(&self) -> bool {
        let asked = |kind: fn(&SlotKind) -> bool| self.slots.iter().filter(|s| kind(&s.kind)).count();
        let maps = asked(|k| !matches!(k, SlotKind::Column(_)));
        let families = if self.table.key.is_empty() { self.table.families.len() } else { usize::from(self.table.undeclared.is_some()) };
        let hidden = self.table.families.iter().any(|f| f.hidden);
        !hidden && maps == families && asked(|k| matches!(k, SlotKind::Column(_))) == self.table.columns.len()
    }

    /// Whether two images of a row are equal in all asked columns.
    #[must_use]
    pub fn same(&self, old: &Row, new: &Row) -> bool {
        let (mut a, mut b) = (old.cells.as_slice(), new.cells.as_slice());
        self.slots.iter().all(|slot| {
            let (x, y) = (slot.take(&mut a), slot.take(&mut b));
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.qualifier == y.qualifier && x.value == y.value)
        })
    }

    /// One builder an output column.
    pub(super) fn builders(&self) -> Vec<ColumnBuilder> {
        self.schema.fields().iter().map(|f| ColumnBuilder::of(f.data_type())).collect()
    }
}

impl Slot {
    /// This slot's cells: `rest` is moved to the first one, so that the next slot searches from there.
    /// A column has at most its newest cell; a family may hold several versions of a column.
    pub(super) fn take<'c>(&self, rest: &mut &'c [Cell]) -> &'c [Cell] {
        let before = |c: &&Cell| (c.family, c.qualifier.as_ref()) < (self.family, self.qualifier.as_ref());
        *rest = &rest[rest.iter().take_while(before).count()..];
        match self.kind {
            SlotKind::Column(_) => {
                let hit = rest.first().is_some_and(|c| c.family == self.family && c.qualifier == self.qualifier);
                &rest[..usize::from(hit)]
            }
            SlotKind::Attributes | SlotKind::Family => {
                let inside = |c: &&Cell| c.family == self.family && c.qualifier.starts_with(&self.qualifier);
                &rest[..rest.iter().take_while(inside).count()]
            }
        }
    }
}
