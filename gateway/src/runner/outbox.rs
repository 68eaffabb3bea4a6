//! Run records wait in the catalog; here they move into `system.runs`.

use crate::cluster::Cluster;
use common::catalog::{RUNS_TABLE, RunRecord};
use common::row::{Mutation, RowMutation};
use common::rpc::master::Command;
use common::schema::Table;
use common::time::Micros;
use common::value::Value;
use common::version::RangeSet;
use common::{Error, Result};
use std::sync::Arc;

/// Records moved at once.
const BATCH: usize = 500;

/// Writes the catalog's run records, then clears them. A repetition writes the same rows again.
///
/// # Errors
/// `Unavailable` and the like: the records stay where they are.
pub async fn drain(cluster: &Arc<Cluster>) -> Result<()> {
    let catalog = cluster.catalog();
    if catalog.run_records.is_empty() {
        return Ok(());
    }
    let table = cluster.table(RUNS_TABLE)?;
    let records = &catalog.run_records[..catalog.run_records.len().min(BATCH)];
    let rows = records.iter().map(|r| row_of(&table, r)).collect::<Result<Vec<_>>>()?;
    for result in cluster.write_internal(&table, rows).await? {
        result?;
    }
    cluster.submit(Command::ClearRunRecords { runs: records.iter().map(|r| r.run).collect() }).await?;
    Ok(())
}

/// A record as a row of `system.runs`.
fn row_of(table: &Table, record: &RunRecord) -> Result<RowMutation> {
    let count = |n: u64| Some(Value::Int64(i64::try_from(n).unwrap_or(i64::MAX)));
    let text = |s: &str| Some(Value::String(s.to_owned()));
    let json = |v: serde_json::Value| Some(Value::Json(v.to_string()));
    let run = i64::try_from(record.run.0).map_err(|_| Error::internal("a run number beyond 2^63"))?;
    let key = [text(&record.table), Some(Value::Timestamp(record.started_at)), Some(Value::Int64(run))];
    let values = [
        ("status", text(&record.status)),
        ("reason", text(&record.reason)),
        ("path", text(&record.path)),
        ("windows", json(windows_json(&record.windows))),
        ("version", count(record.version.0)),
        ("ended_at", Some(Value::Timestamp(record.ended_at))),
        ("duration_ms", Some(Value::Int64((record.ended_at.0 - record.started_at.0) / 1000))),
        ("rows_in", count(record.rows_in)),
        ("rows_out", count(record.rows_out)),
        ("rows_changed", count(record.rows_changed)),
        ("inputs", json(record.inputs.clone().into())),
        ("mixed_with", json(record.mixed_with.clone().into())),
        ("fingerprint", text(&record.fingerprint)),
        ("runner", text(&record.runner)),
        ("error", record.error.as_deref().and_then(text)),
    ];
    let set = |(name, value): (&str, Option<Value>)| {
        let (column, value) = (table.column(name)?, value?);
        let qualifier = column.stored();
        Some(Mutation::Set { family: column.family, qualifier, timestamp: Some(record.ended_at), value: value.to_cell() })
    };
    Ok(RowMutation { key: table.key_schema().encode(&key)?, mutations: values.into_iter().filter_map(set).collect() })
}

/// `[["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"], …]`; an open end is null.
#[must_use]
pub fn windows_json(windows: &RangeSet) -> serde_json::Value {
    let end = |t: Micros, open: Micros| if t == open { serde_json::Value::Null } else { t.to_rfc3339().into() };
    windows.ranges().iter().map(|&(s, e)| serde_json::Value::from(vec![end(s, Micros::MIN), end(e, Micros::MAX)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::catalog::system_tables;
    use common::ids::{RunId, TableId};
    use common::schema::TableKind;

    #[test]
    fn a_record_becomes_a_row_with_every_column() {
        let table = Table::create(TableId(1), TableKind::System, system_tables().remove(0)).unwrap();
        let windows = RangeSet::of(Micros(0), Micros::MAX);
        let record = RunRecord { run: RunId(7), table: "a.b".into(), error: Some("x".into()), windows, ..RunRecord::default() };
        let row = row_of(&table, &record).unwrap();
        assert_eq!(row.mutations.len(), table.columns.len());
        assert_eq!(row, row_of(&table, &record).unwrap());
        assert_eq!(windows_json(&record.windows).to_string(), r#"[["1970-01-01T00:00:00Z",null]]"#);
    }
}
