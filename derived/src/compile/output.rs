//! The table that a definition makes: columns, types and row key.

use crate::definition::{ColumnTest, Definition, RangeSpec, StrategySpec};
use crate::document::OutputColumn;
use crate::fold::{MergeColumn, MergeRules, Part};
use crate::lineage::ColumnRef;
use crate::row_test::RowTest;
use common::schema::{ColumnSpec, DATA_FAMILY, FamilySpec, KeyPartSpec, TableSpec, is_json};
use common::value::ValueType;
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::DFSchema;
use std::collections::BTreeSet;

/// The hidden key part that keeps rows apart which no declared key tells apart.
pub const TIE_PART: &str = "_tie";

/// A refusal: the key of the definition that it is about, and a sentence.
pub(super) type Fault = (&'static str, String);

/// A column of the plan's result, with whether it may be null.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub name: String,
    pub ty: ValueType,
    pub nullable: bool,
}

/// The result's columns in order.
pub(super) fn columns(definition: &Definition, schema: &DFSchema) -> Result<Vec<Column>, Fault> {
    let mut names = BTreeSet::new();
    let columns = schema.fields().iter().map(|field| {
        let ty = value_type(field).map_err(|e| ("sql", e))?;
        if !names.insert(field.name().as_str()) {
            return Err(("sql", format!("two output columns are called '{}': name one with AS", field.name())));
        }
        column(definition, field, ty)
    });
    let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
    match definition.columns.keys().find(|name| !columns.iter().any(|c| c.name == **name)) {
        Some(name) => Err(("columns", unknown("columns", name, &columns))),
        None => Ok(columns),
    }
}

fn column(definition: &Definition, field: &Field, ty: ValueType) -> Result<Column, Fault> {
    let declared = definition.columns.get(field.name()).and_then(|c| c.ty);
    let ty = match declared {
        Some(ValueType::Json) if ty == ValueType::String => ValueType::Json,
        Some(want) if want != ty => {
            return Err(("columns", format!("column '{}' is declared {want} but the SQL gives {ty}: cast it", field.name())));
        }
        _ => ty,
    };
    Ok(Column { name: field.name().clone(), ty, nullable: field.is_nullable() })
}

/// The type under which a column is stored.
fn value_type(field: &Field) -> Result<ValueType, String> {
    let refuse = |hint: &str| Err(format!("output column '{}' is of type {}: {hint}", field.name(), field.data_type()));
    stored_as(field, field.data_type()).map_or_else(
        || match field.data_type() {
            DataType::Null => refuse("give it one, as in cast(null as text)"),
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
                refuse("cast it to double or bigint")
            }
            DataType::Timestamp(_, Some(_)) => refuse("cast it to timestamp, which is in UTC"),
            DataType::Interval(_) | DataType::Duration(_) => refuse("cast it to a number, as in extract(epoch from x)"),
            DataType::Map(..) => refuse("select single attributes, as in attrs->>'price'"),
            DataType::Union(..) => refuse("read it as text with ->> or cast it"),
            _ => refuse("unnest it, or select its fields"),
        },
        Ok,
    )
}

fn stored_as(field: &Field, ty: &DataType) -> Option<ValueType> {
    Some(match ty {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => ValueType::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => ValueType::Int64,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => ValueType::Float64,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if is_json(field) => ValueType::Json,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ValueType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => ValueType::Bytes,
        DataType::Boolean => ValueType::Bool,
        DataType::Date32 | DataType::Date64 => ValueType::Date,
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond, None) => {
            ValueType::Timestamp
        }
        DataType::Dictionary(_, value) => return stored_as(field, value),
        _ => return None,
    })
}

fn unknown(what: &str, name: &str, columns: &[Column]) -> String {
    let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
    format!("{what}: '{name}' is not an output column; there are {}", names.join(", "))
}

pub(super) fn find<'a>(key: &'static str, what: &str, name: &str, columns: &'a [Column]) -> Result<&'a Column, Fault> {
    columns.iter().find(|c| c.name == name).ok_or_else(|| (key, unknown(what, name, columns)))
}

/// The table's spec, and the rules if it is a merge.
pub(super) fn table(definition: &Definition, columns: &[Column]) -> Result<(TableSpec, Option<MergeRules>), Fault> {
    let merge = match &definition.strategy {
        StrategySpec::Merge(_) => Some(merge_rules(definition, columns)?),
        _ => None,
    };
    let mut spec = TableSpec {
        description: definition.description.clone(),
        key: key(definition, columns, merge.as_ref())?,
        undeclared: Some("none".into()),
        ..TableSpec::named(&definition.name)
    };
    let in_key: BTreeSet<_> = spec.key.iter().map(|p| p.name.clone()).collect();
    let data = |name: &str, ty| ColumnSpec { name: name.into(), ty, family: DATA_FAMILY.into(), qualifier: None };
    match &merge {
        Some(rules) => {
            for c in &rules.columns {
                let ty = c.rule.output(find("strategy", "strategy.merge.columns", &c.name, columns)?.ty);
                let ty = ty.map_err(|e| ("strategy", format!("strategy: column '{}': {e}", c.name)))?;
                spec.columns.push(data(&c.name, ty));
            }
            if definition.window.is_some() {
                spec.families.insert(Part::FAMILY.into(), FamilySpec { gc: None, hidden: true });
            }
        }
        None => {
            spec.columns = columns.iter().filter(|c| !in_key.contains(&c.name)).map(|c| data(&c.name, c.ty)).collect();
            spec.time_column.clone_from(&definition.time_column);
        }
    }
    if let Some(name) = &definition.time_column {
        let column = find("time_column", "time_column", name, columns)?;
        if !matches!(column.ty, ValueType::Timestamp | ValueType::Date) {
            return Err(("time_column", format!("time_column '{name}' is of type {}: it must be timestamp or date", column.ty)));
        }
    }
    spec.check().map_err(|e| ("key", e.message))?;
    Ok((spec, merge))
}

fn merge_rules(definition: &Definition, columns: &[Column]) -> Result<MergeRules, Fault> {
    let StrategySpec::Merge(merge) = &definition.strategy else { return Err(("strategy", "it is no merge".into())) };
    if let Some(order_by) = &merge.order_by {
        find("strategy", "strategy.merge.order_by", order_by, columns)?;
    }
    for name in merge.columns.keys() {
        find("strategy", "strategy.merge.columns", name, columns)?;
        if merge.key.contains(name) {
            return Err(("strategy", format!("strategy: '{name}' is in the merge key and has a rule: remove one")));
        }
    }
    let by_name = |c: &&Column| merge.columns.get(&c.name).map(|&rule| MergeColumn { name: c.name.clone(), rule });
    // The result's order, so that the definition's map order does not matter.
    let rules: Vec<_> = columns.iter().filter_map(|c| by_name(&c)).collect();
    let used = |c: &&Column| {
        let is_time = definition.window.is_some() && definition.time_column.as_ref() == Some(&c.name);
        merge.key.contains(&c.name) || merge.columns.contains_key(&c.name) || merge.order_by.as_ref() == Some(&c.name) || is_time
    };
    match columns.iter().find(|c| !used(c)) {
        Some(c) => Err((
            "strategy",
            format!("strategy: column '{}' has no merge rule: add one to strategy.merge.columns, or do not select it", c.name),
        )),
        None => Ok(MergeRules { key: merge.key.clone(), order_by: merge.order_by.clone(), columns: rules }),
    }
}

fn key(definition: &Definition, columns: &[Column], merge: Option<&MergeRules>) -> Result<Vec<KeyPartSpec>, Fault> {
    let written = definition.key.partition.iter().chain(&definition.key.cluster).map(String::as_str);
    let mut words: Vec<&str> = written.collect();
    if let (Some(merge), true) = (merge, words.is_empty()) {
        words = merge.key.iter().map(String::as_str).collect();
    }
    if words.is_empty() {
        return Err(("key", "key: name the columns of the row key, as in key: {partition: [user_id], cluster: [day]}".into()));
    }
    let mut parts = words.into_iter().map(|w| part(definition, w, columns)).collect::<Result<Vec<_>, _>>()?;
    let unique = match merge {
        Some(merge) => &merge.key,
        None => &definition.key.unique,
    };
    if let Some(name) = unique.iter().find(|u| !parts.iter().any(|p| p.name == **u)) {
        find("key", "key.unique", name, columns)?;
        return Err((
            "key",
            format!(
                "key: unique column '{name}' is not in partition or cluster; checking it elsewhere is not built yet: add it to cluster"
            ),
        ));
    }
    if unique.is_empty() {
        parts.push(KeyPartSpec { name: TIE_PART.into(), ty: ValueType::Bytes, descending: false, nullable: false, hidden: true });
    }
    Ok(parts)
}

/// `column`, `column desc` or `column asc`.
fn part(definition: &Definition, words: &str, columns: &[Column]) -> Result<KeyPartSpec, Fault> {
    if words.starts_with("salt(") {
        return Err(("key", format!("key: '{words}': a salt is not built yet: leave it out")));
    }
    let mut split = words.split_whitespace();
    let (name, order) = (split.next().unwrap_or_default(), split.next());
    let descending = match (order, split.next()) {
        (None | Some("asc"), None) => false,
        (Some("desc"), None) => true,
        _ => return Err(("key", format!("key: '{words}': write a column, or a column and desc"))),
    };
    let column = find("key", "key", name, columns)?;
    // A row without a time fails the run, so the time column is never null.
    let is_time = definition.time_column.as_deref() == Some(name);
    Ok(KeyPartSpec { name: name.into(), ty: column.ty, descending, nullable: column.nullable && !is_time, hidden: false })
}

pub(super) fn tests(definition: &Definition, columns: &[Column]) -> Result<Vec<RowTest>, Fault> {
    let mut out = Vec::new();
    for (column, rule) in &definition.columns {
        for test in &rule.tests {
            out.push(match test {
                ColumnTest::NotNull => RowTest::NotNull { column: column.clone() },
                ColumnTest::Unique => RowTest::Unique { column: published(definition, column)? },
                ColumnTest::AcceptedValues(values) => RowTest::AcceptedValues { column: column.clone(), values: texts(column, values)? },
                ColumnTest::Range(range) => self::range(column, find("columns", "columns", column, columns)?.ty, range)?,
            });
        }
    }
    Ok(out)
}

/// A column that readers see: a merge folds its rows, so of others there is nothing to compare.
fn published(definition: &Definition, column: &str) -> Result<String, Fault> {
    match &definition.strategy {
        StrategySpec::Merge(m) if !m.key.iter().any(|k| k == column) && !m.columns.contains_key(column) => {
            Err(("columns", format!("columns: {column}: unique: the merge does not publish it: add it to strategy.merge.columns")))
        }
        _ => Ok(column.to_owned()),
    }
}

fn range(column: &str, ty: ValueType, range: &RangeSpec) -> Result<RowTest, Fault> {
    let wrong = |e: String| ("columns", format!("columns: {column}: range: {e}"));
    let end = |value: &Option<serde_json::Value>| match value {
        None => Ok(None),
        Some(value) => text(column, value).map(Some),
    };
    let (min, max) = (end(&range.min)?, end(&range.max)?);
    if min.is_none() && max.is_none() {
        return Err(wrong("give min, max, or both".into()));
    }
    let test = RowTest::Range { column: column.to_owned(), min, max };
    test.check(ty).map_err(wrong)?;
    Ok(test)
}

fn texts(column: &str, values: &[serde_json::Value]) -> Result<Vec<String>, Fault> {
    values.iter().map(|v| text(column, v)).collect()
}

fn text(column: &str, value: &serde_json::Value) -> Result<String, Fault> {
    match value {
        serde_json::Value::String(s) => Ok(s.clone()),
        serde_json::Value::Number(n) => Ok(n.to_string()),
        serde_json::Value::Bool(b) => Ok(b.to_string()),
        other => Err(("columns", format!("columns: {column}: {other} is not text, a number or a boolean"))),
    }
}

/// What a run casts each column to, and what it is made of.
pub(super) fn outputs(columns: &[Column], from: Vec<Vec<ColumnRef>>, tags: Vec<Vec<String>>) -> Vec<OutputColumn> {
    let all = columns.iter().zip(from).zip(tags);
    all.map(|((c, from), tags)| OutputColumn { name: c.name.clone(), ty: c.ty, tags, from }).collect()
}
