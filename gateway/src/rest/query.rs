//! Which rows a read asks for, from its parameters.

use crate::cluster::near;
use crate::rows::json::{JsonRows, Shape};
use crate::rows::ranges::{Allowed, key_ranges};
use crate::rows::values::{from_text, shown};
use bytes::Bytes;
use common::ids::FamilyId;
use common::key::KeyRange;
use common::row::{Columns, ReadSpec, Row};
use common::schema::{KeyPart, Table};
use common::time::{Micros, TimeRange};
use common::value::{Value, ValueType};
use common::{Error, Result};
use std::ops::Bound;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Parameters that are not key parts.
const OPTIONS: [&str; 11] = ["from", "to", "prefix", "columns", "limit", "page_token", "order", "cells", "cells_from", "cells_to", "table"];

/// A read as its parameters ask for it.
#[derive(Debug)]
pub struct RowQuery {
    /// The rows; its limit is not set.
    pub spec: ReadSpec,
    /// Rows at most, if it says so.
    pub limit: Option<usize>,
    /// How rows are written.
    pub shape: Shape,
    /// Where the client wants to go on.
    pub page_token: Option<String>,
    /// A condition on the event time that the key cannot answer.
    filter: Option<TimeFilter>,
}

/// Rows whose event time lies in a range.
#[derive(Clone, Debug, PartialEq)]
struct TimeFilter {
    source: TimeSource,
    range: TimeRange,
}

#[derive(Clone, Debug, PartialEq)]
enum TimeSource {
    Part(usize),
    Column(FamilyId, Bytes, ValueType),
}

impl RowQuery {
    /// Reads the parameters of a range read.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the parameter, its value and what to write.
    pub fn parse(rows: &JsonRows, params: &[(String, String)]) -> Result<Self> {
        Parser { table: rows.table(), params }.query(rows)
    }

    /// Reads the parameters of a single row: all key parts, and options.
    ///
    /// # Errors
    /// As [`Self::parse`], and for a missing key part.
    pub fn one(rows: &JsonRows, params: &[(String, String)]) -> Result<Self> {
        let parser = Parser { table: rows.table(), params };
        let missing = rows.table().key.iter().find(|p| !p.hidden && parser.get(&p.name).is_none());
        if let Some(part) = missing {
            return Err(Error::invalid(format!("key part '{}' is missing: one row needs all of them", part.name)));
        }
        if rows.table().key.is_empty() && parser.get(Table::ROW_KEY).is_none() {
            return Err(Error::invalid("'row_key' is missing"));
        }
        if let Some(option) = ["from", "to", "prefix", "limit", "page_token", "order"].iter().find(|o| parser.get(o).is_some()) {
            return Err(Error::invalid(format!("'{option}' does not go with the read of one row: use …/rows")));
        }
        parser.query(rows)
    }

    /// Whether a row passes the conditions that its key range does not answer.
    ///
    /// # Errors
    /// `Corrupt` if key or cell do not decode.
    pub fn passes(&self, table: &Table, row: &Row) -> Result<bool> {
        let Some(filter) = &self.filter else { return Ok(true) };
        let value = match &filter.source {
            TimeSource::Part(at) => table.key_schema().decode(&row.key)?.swap_remove(*at),
            TimeSource::Column(family, stored, ty) => {
                let cell = row.cells.iter().find(|c| c.family == *family && c.qualifier == *stored);
                cell.map(|c| Value::from_cell(*ty, &c.value)).transpose()?
            }
        };
        Ok(value.as_ref().and_then(instant).is_some_and(|t| filter.range.contains(t)))
    }

    /// Whether rows may be left out after they were read.
    #[must_use]
    pub fn filters(&self) -> bool {
        self.filter.is_some()
    }
}

/// The instant that a time or date begins at.
fn instant(value: &Value) -> Option<Micros> {
    match value {
        Value::Timestamp(t) => Some(*t),
        Value::Date(d) => i64::from(*d).checked_mul(MICROS_PER_DAY).map(Micros),
        _ => None,
    }
}

struct Parser<'a> {
    table: &'a Table,
    params: &'a [(String, String)],
}

impl Parser<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn query(&self, rows: &JsonRows) -> Result<RowQuery> {
        self.check_names()?;
        let (mut allowed, parts) = (Vec::new(), self.given_parts()?);
        allowed.extend(parts);
        let (mut filter, mut event_time) = (None, None);
        let ranges = if self.table.key.is_empty() {
            self.raw_ranges()?
        } else {
            let next = allowed.len();
            match self.bounds(next)? {
                Some(Bounds::Key(bounds)) => allowed.push(bounds),
                Some(Bounds::Time(found)) => {
                    event_time = Some(found.range);
                    filter = Some(found);
                }
                None => {}
            }
            match self.get("prefix") {
                Some(prefix) => self.prefix_ranges(&allowed[..next], prefix)?,
                None => key_ranges(self.table.key_schema(), &allowed)?,
            }
        };
        let cells = self.flag("cells")?;
        let spec = ReadSpec {
            ranges,
            reverse: self.reverse()?,
            columns: self.columns(rows, filter.as_ref())?,
            keep_empty_rows: !self.table.key.is_empty(),
            timestamps: self.cell_times()?,
            cells_per_column: u32::from(!cells),
            event_time,
            ..ReadSpec::default()
        };
        let shape = if cells { Shape::Cells } else { Shape::Values };
        Ok(RowQuery { spec, limit: self.limit()?, shape, page_token: self.get("page_token").map(str::to_owned), filter })
    }

    fn visible(&self) -> impl Iterator<Item = &KeyPart> {
        self.table.key.iter().filter(|p| !p.hidden)
    }

    fn check_names(&self) -> Result<()> {
        let raw = self.table.key.is_empty().then_some(Table::ROW_KEY);
        let parts: Vec<_> = self.visible().map(|p| p.name.as_str()).chain(raw).collect();
        let known = |name: &str| OPTIONS.contains(&name) || parts.contains(&name);
        let Some((name, _)) = self.params.iter().find(|(n, _)| !known(n)) else { return Ok(()) };
        if self.table.column(name).is_some() {
            let parts = parts.join(", ");
            return Err(Error::invalid(format!("'{name}' is no key part ({parts}): ask for values of columns in SQL, POST /v1/sql")));
        }
        let near = near(name, parts.iter().copied().chain(OPTIONS));
        let hint =
            if near.is_empty() { format!("rows are read by {}", parts.join(", ")) } else { format!("did you mean {}?", near.join(" or ")) };
        Err(Error::invalid(format!("unknown parameter '{name}': {hint}")))
    }

    /// The leading key parts that are given, each by its value.
    fn given_parts(&self) -> Result<Vec<Allowed>> {
        let mut values = Vec::new();
        let mut gap = None;
        for part in self.visible() {
            match (self.get(&part.name), gap) {
                (Some(text), None) => values.push(Allowed::OneOf(vec![self.part_value(part, &part.name, text)?])),
                (Some(_), Some(missing)) => {
                    return Err(Error::invalid(format!("'{}' is given without '{missing}', which comes before it in the key", part.name)));
                }
                (None, _) => gap = gap.or(Some(&part.name)),
            }
        }
        Ok(values)
    }

    fn part_value(&self, part: &KeyPart, param: &str, text: &str) -> Result<Option<Value>> {
        if text.is_empty() && part.codec.nullable {
            return Ok(None);
        }
        from_text(part.codec.ty, text).map(Some).map_err(|e| Error::invalid(format!("{param}: {e}")))
    }

    /// What `from` and `to` bound: the next key part, or the event time.
    fn bounds(&self, next: usize) -> Result<Option<Bounds>> {
        if self.get("from").is_none() && self.get("to").is_none() {
            return Ok(None);
        }
        if let Some(source) = self.time_behind(next) {
            let at = |name: &str, open| self.get(name).map_or(Ok(open), |text| self.time(name, text));
            let range = TimeRange { start: at("from", Micros::MIN)?, end: at("to", Micros::MAX)? };
            return Ok(Some(Bounds::Time(TimeFilter { source, range })));
        }
        let Some(part) = self.visible().nth(next) else {
            return Err(Error::invalid("'from' and 'to' have nothing to bound: all key parts are given"));
        };
        let at = |name: &str| self.get(name).map(|text| self.part_value(part, name, text)).transpose().map(Option::flatten);
        let lower = at("from")?.map_or(Bound::Unbounded, Bound::Included);
        let upper = at("to")?.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(Some(Bounds::Key(Allowed::Between(lower, upper))))
    }

    /// The table's time column, if it is not the key part number `next` nor one in front of it.
    fn time_behind(&self, next: usize) -> Option<TimeSource> {
        let name = self.table.time_column.as_deref()?;
        match self.table.key_part(name) {
            Some((at, _)) => (at > next).then_some(TimeSource::Part(at)),
            None => self.table.column(name).map(|c| TimeSource::Column(c.family, c.stored(), c.ty)),
        }
    }

    fn time(&self, name: &str, text: &str) -> Result<Micros> {
        Micros::parse(text).map_err(|e| Error::invalid(format!("{name}: {e}")))
    }

    /// The keys whose next part, a text, begins with `prefix`.
    fn prefix_ranges(&self, given: &[Allowed], prefix: &str) -> Result<Vec<KeyRange>> {
        if self.get("from").is_some() || self.get("to").is_some() {
            return Err(Error::invalid("'prefix' does not go together with 'from' or 'to'"));
        }
        let values: Vec<_> = given.iter().map(|a| if let Allowed::OneOf(v) = a { v[0].clone() } else { None }).collect();
        let part = self.visible().nth(given.len()).filter(|p| matches!(p.codec.ty, ValueType::String | ValueType::Json));
        let Some(part) = part else {
            return Err(Error::invalid("'prefix' needs a next key part of type string"));
        };
        let value = if part.codec.ty == ValueType::Json { Value::Json(prefix.into()) } else { Value::String(prefix.into()) };
        let mut key = self.table.key_schema().encode_prefix(&values)?;
        part.codec.encode(Some(&value), &mut key)?;
        // Without the two bytes that end a text, this is where all longer ones begin.
        key.truncate(key.len() - 2);
        Ok(vec![KeyRange::prefix(&key)])
    }

    /// Ranges of a table without key parts, whose keys are text here.
    fn raw_ranges(&self) -> Result<Vec<KeyRange>> {
        let key = |name: &str| self.get(name).map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let given: Vec<_> = [Table::ROW_KEY, "prefix"].into_iter().filter(|n| self.get(n).is_some()).collect();
        let bounded = self.get("from").is_some() || self.get("to").is_some();
        match given.as_slice() {
            [] => Ok(vec![KeyRange { start: key("from").unwrap_or_default(), end: key("to") }]),
            [one] if !bounded => {
                let key = key(one).unwrap_or_default();
                Ok(vec![if *one == Table::ROW_KEY { KeyRange::single(&key) } else { KeyRange::prefix(&key) }])
            }
            _ => Err(Error::invalid("give one of 'row_key', 'prefix', or 'from' and 'to'")),
        }
    }

    fn columns(&self, rows: &JsonRows, filter: Option<&TimeFilter>) -> Result<Columns> {
        let Some(names) = self.get("columns") else { return Ok(Columns::All) };
        let mut columns = rows.columns(names.split(',').map(str::trim).filter(|n| !n.is_empty()))?;
        if let (Columns::Some(list), Some(TimeSource::Column(family, stored, _))) = (&mut columns, filter.map(|f| &f.source)) {
            list.push((*family, Some(stored.clone())));
        }
        Ok(columns)
    }

    /// Whether the asked order is against the key's. It is that of the first part which is not given.
    fn reverse(&self) -> Result<bool> {
        let given = self.visible().take_while(|p| self.get(&p.name).is_some()).count();
        let descending = self.visible().nth(given).is_some_and(|p| p.codec.descending);
        match self.get("order") {
            None => Ok(false),
            Some("asc") => Ok(descending),
            Some("desc") => Ok(!descending),
            Some(other) => Err(Error::invalid(format!("order: '{other}' is none: write asc or desc"))),
        }
    }

    fn cell_times(&self) -> Result<TimeRange> {
        let at = |name: &str, open| self.get(name).map_or(Ok(open), |text| self.time(name, text));
        Ok(TimeRange { start: at("cells_from", Micros::MIN)?, end: at("cells_to", Micros::MAX)? })
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(Error::invalid(format!("{name}: '{}' is neither true nor false", shown(other)))),
        }
    }

    fn limit(&self) -> Result<Option<usize>> {
        let Some(text) = self.get("limit") else { return Ok(None) };
        match text.parse() {
            Ok(n) if n > 0 => Ok(Some(n)),
            _ => Err(Error::invalid(format!("limit: '{}' is not a number of rows from 1 on", shown(text)))),
        }
    }
}

/// What `from` and `to` mean in a read.
enum Bounds {
    Key(Allowed),
    Time(TimeFilter),
}
