//! Many rows of several tables by key, in one call: what a model asks for before it answers.

use super::App;
use super::extract::{JSON, Json};
use super::problem::{Problem, Refused};
use super::query::RowQuery;
use crate::cluster::Cluster;
use crate::rows::json::{JsonRows, Shape};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::key::KeyRange;
use common::row::{ReadSpec, Row};
use common::schema::TableKind;
use common::version::VersionMap;
use common::{Error, Result};
use futures::TryStreamExt;
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Rows of one call at most.
const MOST_KEYS: usize = 10_000;

/// What to read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// By table.
    reads: Vec<TableKeys>,
}

/// Rows of one table.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TableKeys {
    /// `dataset.name`.
    table: String,
    /// All key parts of each row by name, or its `row_key`.
    #[schema(value_type = Vec<Object>)]
    keys: Vec<Map<String, Value>>,
    /// Columns, families and undeclared attributes; left out: all.
    #[serde(default)]
    columns: Vec<String>,
}

/// Read rows of several tables by key.
///
/// Answers with one entry a table, in order: its rows in the order of the keys, null where there is none, all of one version.
/// `version` names it; `as_of` is when a derived table's was published, and the time of the read for others.
#[utoipa::path(post, path = "/v1/rows:batchGet", tag = "rows", request_body = Batch,
    responses((status = 200, body = serde_json::Value, description = "`{tables: [{table, version, as_of, rows}]}`"),
        (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn get(State(app): State<Arc<App>>, Json(batch): Json<Batch>) -> Result<Response, Refused> {
    let keys: usize = batch.reads.iter().map(|r| r.keys.len()).sum();
    if keys > MOST_KEYS {
        return Err(Error::invalid(format!("{keys} keys; at most {MOST_KEYS} may be read in one call")).into());
    }
    let tables = try_join_all(batch.reads.iter().map(|reads| read(&app.cluster, reads))).await?;
    let mut out = String::from("{\"tables\":[");
    for (i, table) in tables.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        table.write(&mut out)?;
    }
    out.push_str("]}");
    Ok(([(CONTENT_TYPE, JSON)], out).into_response())
}

/// The answer for one table.
struct Found {
    rows: JsonRows,
    version: u64,
    as_of: String,
    keys: Vec<KeyRange>,
    by_key: BTreeMap<Bytes, Row>,
}

async fn read(cluster: &Arc<Cluster>, reads: &TableKeys) -> Result<Found> {
    let rows = JsonRows::new(cluster.table(&reads.table)?);
    let wrong = |at: usize, e: Error| Error::new(e.kind, format!("table '{}', key {at}: {}", reads.table, e.message));
    let one = |(at, key): (usize, &Map<String, Value>)| spec(&rows, key, &reads.columns).map_err(|e| wrong(at, e));
    let specs = reads.keys.iter().enumerate().map(one).collect::<Result<Vec<_>>>()?;
    let keys: Vec<KeyRange> = specs.iter().flat_map(|s| s.ranges.iter().cloned()).collect();
    let mut ranges = keys.clone();
    ranges.sort_by(|a, b| a.start.cmp(&b.start));
    ranges.dedup();
    let table = rows.table();
    let version = cluster.snapshot_in(table, &ranges).await?;
    let mut by_key = BTreeMap::new();
    if let Some(first) = specs.into_iter().next() {
        let spec = ReadSpec { ranges, ..first };
        let mut found = cluster.read(table, spec, Some(version.clone()));
        while let Some(some) = found.try_next().await? {
            by_key.extend(some.into_iter().map(|row| (row.key.clone(), row)));
        }
    }
    let published = (table.kind == TableKind::Derived).then(|| cluster.catalog().published(table.id).map(|p| p.published_at)).flatten();
    let as_of = published.unwrap_or_else(|| cluster.clock().now()).to_rfc3339();
    Ok(Found { version: newest(&version), as_of, keys, by_key, rows })
}

/// The read of one row.
fn spec(rows: &JsonRows, key: &Map<String, Value>, columns: &[String]) -> Result<ReadSpec> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err(Error::invalid(format!("{value} is no key part: write text, a number or a boolean"))),
    };
    let mut params = key.iter().map(|(name, value)| Ok((name.clone(), text(value)?))).collect::<Result<Vec<_>>>()?;
    if !columns.is_empty() {
        params.push(("columns".into(), columns.join(",")));
    }
    Ok(RowQuery::one(rows, &params)?.spec)
}

fn newest(version: &VersionMap) -> u64 {
    version.entries().iter().map(|(_, seq)| seq.0).max().unwrap_or_default()
}

impl Found {
    fn write(&self, out: &mut String) -> Result<()> {
        let head = json!({ "table": self.rows.table().name, "version": self.version, "as_of": self.as_of }).to_string();
        out.push_str(head.trim_end_matches('}'));
        out.push_str(",\"rows\":[");
        for (i, key) in self.keys.iter().enumerate() {
            out.push_str(if i > 0 { "," } else { "" });
            // Of rows that are alike in all visible key parts, one.
            match self.by_key.range(key.start.clone()..).next().filter(|(found, _)| key.contains(found)) {
                Some((_, row)) => self.rows.write(row, Shape::Values, out)?,
                None => out.push_str("null"),
            }
        }
        out.push_str("]}");
        Ok(())
    }
}
