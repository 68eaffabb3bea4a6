//! What of a query's filters becomes key ranges and event times.

use crate::rows::ranges::{Allowed, MOST_RANGES, key_ranges};
use common::Result;
use common::key::KeyRange;
use common::schema::Table;
use common::time::{Micros, TimeRange};
use common::value::{Value, ValueType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use std::collections::HashMap;
use std::ops::Bound;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// What one filter says about one column.
#[derive(Clone, Debug, PartialEq)]
struct Fact {
    column: String,
    allowed: Says,
}

#[derive(Clone, Debug, PartialEq)]
enum Says {
    OneOf(Vec<Option<Value>>),
    AtLeast(Bound<Value>),
    AtMost(Bound<Value>),
}

/// The filters of one scan as far as they are understood.
#[derive(Debug)]
pub(super) struct Pushed {
    /// One list of facts a filter; `None`: not understood.
    facts: Vec<Option<Vec<Fact>>>,
    /// For the leading key parts, in order.
    allowed: Vec<Allowed>,
    /// Names of the key parts that `allowed` covers.
    covered: Vec<String>,
    event_time: Option<TimeRange>,
}

impl Pushed {
    pub(super) fn of(table: &Table, filters: &[&Expr]) -> Self {
        let facts: Vec<_> = filters.iter().map(|f| facts(table, f)).collect();
        let mut known: HashMap<&str, Known> = HashMap::new();
        for fact in facts.iter().flatten().flatten() {
            known.entry(&fact.column).or_default().learn(&fact.allowed);
        }
        let (allowed, covered) = leading(table, &known);
        let event_time = table.time_column.as_deref().and_then(|c| known.get(c)).map(Known::times);
        Self { allowed, covered, event_time, facts }
    }

    /// How far each filter is done by the ranges.
    pub(super) fn support(&self) -> Vec<TableProviderFilterPushDown> {
        let done = |facts: &Vec<Fact>| facts.iter().all(|f| self.covered.contains(&f.column) && f.is_exact());
        let each = |facts: &Option<Vec<Fact>>| match facts {
            None => TableProviderFilterPushDown::Unsupported,
            Some(facts) if done(facts) => TableProviderFilterPushDown::Exact,
            Some(_) => TableProviderFilterPushDown::Inexact,
        };
        self.facts.iter().map(each).collect()
    }

    /// The keys that can pass.
    pub(super) fn ranges(&self, table: &Table) -> Result<Vec<KeyRange>> {
        if table.key.is_empty() {
            return Ok(self.allowed.first().map_or_else(|| vec![KeyRange::ALL], raw_ranges));
        }
        key_ranges(table.key_schema(), &self.allowed)
    }

    /// The event times that can pass.
    pub(super) fn event_time(&self) -> Option<TimeRange> {
        self.event_time
    }
}

impl Fact {
    /// Key order and SQL comparison agree on everything but floats (NaN, −0).
    fn is_exact(&self) -> bool {
        let float = |v: &Value| v.ty() == ValueType::Float64;
        match &self.allowed {
            Says::OneOf(values) => !values.iter().flatten().any(float),
            Says::AtLeast(Bound::Included(v) | Bound::Excluded(v)) | Says::AtMost(Bound::Included(v) | Bound::Excluded(v)) => !float(v),
            Says::AtLeast(Bound::Unbounded) | Says::AtMost(Bound::Unbounded) => true,
        }
    }
}

/// All that is known about one column.
#[derive(Debug)]
struct Known {
    one_of: Option<Vec<Option<Value>>>,
    lower: Bound<Value>,
    upper: Bound<Value>,
}

impl Default for Known {
    fn default() -> Self {
        Self { one_of: None, lower: Bound::Unbounded, upper: Bound::Unbounded }
    }
}

impl Known {
    fn learn(&mut self, says: &Says) {
        match says {
            Says::OneOf(values) => match &mut self.one_of {
                Some(known) => known.retain(|v| values.contains(v)),
                None => self.one_of = Some(distinct(values)),
            },
            Says::AtLeast(bound) if tighter(bound, &self.lower, true) => self.lower = bound.clone(),
            Says::AtMost(bound) if tighter(bound, &self.upper, false) => self.upper = bound.clone(),
            Says::AtLeast(_) | Says::AtMost(_) => {}
        }
    }

    fn allowed(&self) -> Option<Allowed> {
        match (&self.one_of, &self.lower, &self.upper) {
            (Some(values), lower, upper) => {
                Some(Allowed::OneOf(values.iter().filter(|v| passes(v.as_ref(), lower, upper)).cloned().collect()))
            }
            (None, Bound::Unbounded, Bound::Unbounded) => None,
            (None, lower, upper) => Some(Allowed::Between(lower.clone(), upper.clone())),
        }
    }

    /// The least range of times that holds all that is known.
    fn times(&self) -> TimeRange {
        let within = |v: &Value| match v {
            Value::Timestamp(t) => Some(t.0),
            Value::Date(d) => i64::from(*d).checked_mul(MICROS_PER_DAY),
            _ => None,
        };
        if let Some(values) = &self.one_of {
            let times: Vec<_> = values.iter().flatten().filter_map(within).collect();
            let (least, most) = (times.iter().min().copied().unwrap_or_default(), times.iter().max().copied());
            return TimeRange { start: Micros(least), end: Micros(most.map_or(least, |m| m.saturating_add(1))) };
        }
        let start = match &self.lower {
            Bound::Included(v) => within(v),
            Bound::Excluded(v) => within(v).map(|t| t.saturating_add(1)),
            Bound::Unbounded => None,
        };
        let end = match &self.upper {
            Bound::Included(v) => within(v).map(|t| t.saturating_add(1)),
            Bound::Excluded(v) => within(v),
            Bound::Unbounded => None,
        };
        TimeRange { start: start.map_or(Micros::MIN, Micros), end: end.map_or(Micros::MAX, Micros) }
    }
}

fn distinct(values: &[Option<Value>]) -> Vec<Option<Value>> {
    let mut out: Vec<Option<Value>> = Vec::with_capacity(values.len());
    for value in values {
        if !out.contains(value) {
            out.push(value.clone());
        }
    }
    out
}

/// The order of two values of one type; `None` where SQL has none.
fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Int64(a), Value::Int64(b)) => Some(a.cmp(b)),
        (Value::Float64(a), Value::Float64(b)) => a.partial_cmp(b),
        (Value::String(a), Value::String(b)) | (Value::Json(a), Value::Json(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Whether `new` leaves less than `old` does.
fn tighter(new: &Bound<Value>, old: &Bound<Value>, lower: bool) -> bool {
    let (Bound::Included(a) | Bound::Excluded(a)) = new else { return false };
    let (Bound::Included(b) | Bound::Excluded(b)) = old else { return true };
    match compare(a, b) {
        Some(std::cmp::Ordering::Equal) => matches!(new, Bound::Excluded(_)),
        Some(order) => order.is_gt() == lower,
        None => false,
    }
}

fn passes(value: Option<&Value>, lower: &Bound<Value>, upper: &Bound<Value>) -> bool {
    let bounded = !matches!((lower, upper), (Bound::Unbounded, Bound::Unbounded));
    let Some(value) = value else { return !bounded };
    let above = match lower {
        Bound::Included(l) => compare(value, l).is_none_or(std::cmp::Ordering::is_ge),
        Bound::Excluded(l) => compare(value, l).is_none_or(std::cmp::Ordering::is_gt),
        Bound::Unbounded => true,
    };
    above
        && match upper {
            Bound::Included(u) => compare(value, u).is_none_or(std::cmp::Ordering::is_le),
            Bound::Excluded(u) => compare(value, u).is_none_or(std::cmp::Ordering::is_lt),
            Bound::Unbounded => true,
        }
}

/// What is known of the leading key parts: values of the first ones, then bounds of one more.
fn leading(table: &Table, known: &HashMap<&str, Known>) -> (Vec<Allowed>, Vec<String>) {
    let (mut allowed, mut covered, mut combinations) = (Vec::new(), Vec::new(), 1);
    let raw = table.key.is_empty().then_some(Table::ROW_KEY);
    for name in table.key.iter().map(|p| p.name.as_str()).chain(raw) {
        let Some(next) = known.get(name).and_then(Known::allowed) else { break };
        if let Allowed::OneOf(values) = &next {
            combinations *= values.len();
            if combinations > MOST_RANGES {
                break;
            }
        }
        let last = matches!(next, Allowed::Between(..));
        allowed.push(next);
        covered.push(name.to_owned());
        if last {
            break;
        }
    }
    (allowed, covered)
}

/// Ranges of raw row keys.
fn raw_ranges(allowed: &Allowed) -> Vec<KeyRange> {
    let bytes = |v: &Value| if let Value::Bytes(b) = v { Some(b.clone()) } else { None };
    let after = |v: &Value| bytes(v).and_then(|b| KeyRange::single(&b).end);
    match allowed {
        Allowed::OneOf(values) => values.iter().flatten().filter_map(bytes).map(|b| KeyRange::single(&b)).collect(),
        Allowed::Between(lower, upper) => {
            let start = match lower {
                Bound::Included(v) => bytes(v),
                Bound::Excluded(v) => after(v),
                Bound::Unbounded => None,
            };
            let end = match upper {
                Bound::Included(v) => after(v),
                Bound::Excluded(v) => bytes(v),
                Bound::Unbounded => None,
            };
            vec![KeyRange { start: start.unwrap_or_default(), end }]
        }
    }
}

/// What a filter says; `None` if it says something else as well or nothing that is of use.
fn facts(table: &Table, filter: &Expr) -> Option<Vec<Fact>> {
    match filter {
        Expr::Alias(alias) => facts(table, &alias.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut both = facts(table, left)?;
            both.extend(facts(table, right)?);
            Some(both)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => either(facts(table, left)?, facts(table, right)?),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(c), Expr::Literal(v, _)) => comparison(table, &c.name, *op, v),
            (Expr::Literal(v, _), Expr::Column(c)) => comparison(table, &c.name, op.swap()?, v),
            _ => None,
        },
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = list.expr.as_ref() else { return None };
            let ty = type_of(table, &column.name)?;
            let values = list.list.iter().map(|e| if let Expr::Literal(v, _) = e { value(v, ty).map(Some) } else { None });
            one(&column.name, Says::OneOf(values.collect::<Option<_>>()?))
        }
        Expr::Between(between) if !between.negated => {
            let (Expr::Column(c), Expr::Literal(low, _), Expr::Literal(high, _)) =
                (between.expr.as_ref(), between.low.as_ref(), between.high.as_ref())
            else {
                return None;
            };
            let mut both = comparison(table, &c.name, Operator::GtEq, low)?;
            both.extend(comparison(table, &c.name, Operator::LtEq, high)?);
            Some(both)
        }
        Expr::IsNull(inner) => match inner.as_ref() {
            Expr::Column(c) if table.key_part(&c.name).is_some_and(|(_, p)| p.codec.nullable) => one(&c.name, Says::OneOf(vec![None])),
            _ => None,
        },
        _ => None,
    }
}

fn one(column: &str, allowed: Says) -> Option<Vec<Fact>> {
    Some(vec![Fact { column: column.to_owned(), allowed }])
}

/// `a = 1 or a = 2` is a list of values.
fn either(left: Vec<Fact>, right: Vec<Fact>) -> Option<Vec<Fact>> {
    match (left.as_slice(), right.as_slice()) {
        ([Fact { column: a, allowed: Says::OneOf(x) }], [Fact { column: b, allowed: Says::OneOf(y) }]) if a == b => {
            one(a, Says::OneOf(x.iter().chain(y).cloned().collect()))
        }
        _ => None,
    }
}

fn comparison(table: &Table, column: &str, op: Operator, literal: &ScalarValue) -> Option<Vec<Fact>> {
    let v = value(literal, type_of(table, column)?)?;
    one(
        column,
        match op {
            Operator::Eq => Says::OneOf(vec![Some(v)]),
            Operator::Gt => Says::AtLeast(Bound::Excluded(v)),
            Operator::GtEq => Says::AtLeast(Bound::Included(v)),
            Operator::Lt => Says::AtMost(Bound::Excluded(v)),
            Operator::LtEq => Says::AtMost(Bound::Included(v)),
            _ => return None,
        },
    )
}

/// The type of a column that ranges can come from: a key part, the raw row key or the time column.
fn type_of(table: &Table, column: &str) -> Option<ValueType> {
    if let Some((_, part)) = table.key_part(column) {
        return Some(part.codec.ty);
    }
    if table.key.is_empty() && column == Table::ROW_KEY {
        return Some(ValueType::Bytes);
    }
    (table.time_column.as_deref() == Some(column)).then(|| table.column(column).map(|c| c.ty)).flatten()
}

/// A literal as a value of exactly this type.
fn value(literal: &ScalarValue, ty: ValueType) -> Option<Value> {
    Some(match (ty, literal) {
        (ValueType::Int64, ScalarValue::Int64(Some(n))) => Value::Int64(*n),
        (ValueType::Float64, ScalarValue::Float64(Some(f))) => Value::Float64(*f),
        (ValueType::String, ScalarValue::Utf8(Some(s)) | ScalarValue::LargeUtf8(Some(s)) | ScalarValue::Utf8View(Some(s))) => {
            Value::String(s.clone())
        }
        (ValueType::Bool, ScalarValue::Boolean(Some(b))) => Value::Bool(*b),
        (ValueType::Timestamp, ScalarValue::TimestampMicrosecond(Some(t), None)) => Value::Timestamp(Micros(*t)),
        (ValueType::Date, ScalarValue::Date32(Some(d))) => Value::Date(*d),
        (ValueType::Bytes, ScalarValue::Binary(Some(b)) | ScalarValue::LargeBinary(Some(b)) | ScalarValue::BinaryView(Some(b))) => {
            Value::Bytes(b.clone().into())
        }
        _ => return None,
    })
}
