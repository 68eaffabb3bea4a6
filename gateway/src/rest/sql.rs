use super::App;
use super::encode;
use super::extract::{JSON, Json, NDJSON, accepted, streamed};
use super::problem::{Problem, Refused};
use crate::sql::from_datafusion;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use common::{Error, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Comma-separated values with a header.
const CSV: &str = "text/csv";
/// An Arrow IPC stream.
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// A query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// One statement that reads.
    #[serde(alias = "sql")]
    #[schema(example = "select count(*) from system.runs")]
    query: String,
    /// Values of `$1`, `$2`, …: strings, numbers, booleans, null.
    #[serde(default)]
    params: Vec<serde_json::Value>,
}

/// Run a query.
///
/// SELECT, EXPLAIN, SHOW and DESCRIBE. By `Accept`: `{columns, rows, elapsed_ms}` as JSON with rows as arrays; NDJSON
/// with rows as objects; CSV; an Arrow IPC stream. An answer that cannot be finished is cut off.
#[utoipa::path(post, path = "/v1/sql", tag = "sql", request_body = Query,
    responses((status = 200, description = "the rows", body = serde_json::Value, content_type = "application/json"),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 429, body = Problem, description = "needs more memory than is free")))]
pub async fn run(State(app): State<Arc<App>>, headers: HeaderMap, Json(query): Json<Query>) -> Result<Response, Refused> {
    let kind = accepted(&headers, &[JSON, NDJSON, CSV, ARROW])?;
    let began = app.cluster.clock().monotonic();
    let params = query.params.iter().enumerate().map(|(i, p)| param(i, p)).collect::<Result<_>>()?;
    let batches = app.sql.query(&query.query, params).await?;
    let clock = app.cluster.clock().clone();
    let elapsed = move || clock.monotonic().saturating_sub(began);
    match kind {
        NDJSON => streamed(NDJSON, text(batches, String::new(), encode::ndjson, String::new)).await,
        CSV => {
            let mut header = String::new();
            encode::csv_header(&batches.schema(), &mut header);
            streamed(CSV, text(batches, header, encode::csv, String::new)).await
        }
        ARROW => streamed(ARROW, arrow(batches)?).await,
        _ => streamed(JSON, json(batches, elapsed)).await,
    }
}

fn param(i: usize, value: &serde_json::Value) -> Result<ScalarValue> {
    Ok(match value {
        serde_json::Value::Null => ScalarValue::Null,
        serde_json::Value::Bool(b) => ScalarValue::from(*b),
        serde_json::Value::String(s) => ScalarValue::from(s.as_str()),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => ScalarValue::from(n),
            (None, Some(f)) => ScalarValue::from(f),
            (None, None) => return Err(Error::invalid(format!("parameter ${}: {n} is out of range", i + 1))),
        },
        _ => return Err(Error::invalid(format!("parameter ${}: write a string, a number, true, false or null", i + 1))),
    })
}

/// Text made batch by batch, with something before and something after. The first piece is made together with the first
/// batch, so that a query which fails at once is answered with a problem.
fn text(
    batches: SendableRecordBatchStream,
    mut pending: String,
    mut write: impl FnMut(&RecordBatch, &mut String) -> Result<()> + Send + 'static,
    end: impl FnOnce() -> String + Send + 'static,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    // The end is made when all rows are out.
    let marked = batches.map(Some).chain(stream::once(std::future::ready(None)));
    let mut end = Some(end);
    marked.map(move |item| match item {
        Some(batch) => {
            let mut out = std::mem::take(&mut pending);
            write(&batch.map_err(|e| from_datafusion(&e))?, &mut out)?;
            Ok(out.into())
        }
        None => {
            let mut out = std::mem::take(&mut pending);
            out.push_str(&end.take().map(|end| end()).unwrap_or_default());
            Ok(out.into())
        }
    })
}

fn json(
    batches: SendableRecordBatchStream,
    elapsed: impl FnOnce() -> Duration + Send + 'static,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let column = |f: &Arc<Field>| serde_json::json!({ "name": f.name(), "type": encode::type_name(f) });
    let columns: Vec<_> = batches.schema().fields().iter().map(column).collect();
    let head = format!("{{\"columns\":{},\"rows\":[", serde_json::Value::from(columns));
    let mut first = true;
    let write = move |batch: &RecordBatch, out: &mut String| {
        let was_first = first;
        first &= batch.num_rows() == 0;
        encode::json_rows(batch, was_first, out)
    };
    text(batches, head, write, move || format!("],\"elapsed_ms\":{:.3}}}", elapsed().as_secs_f64() * 1e3))
}

fn arrow(batches: SendableRecordBatchStream) -> Result<impl Stream<Item = Result<Bytes>> + Send> {
    let schema: SchemaRef = batches.schema();
    let failed = |e| Error::internal(format!("the answer does not encode: {e}"));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
    let marked = batches.map(Some).chain(stream::once(std::future::ready(None)));
    Ok(marked.map(move |item| {
        match item {
            Some(batch) => writer.write(&batch.map_err(|e| from_datafusion(&e))?).map_err(failed)?,
            None => writer.finish().map_err(failed)?,
        }
        Ok(std::mem::take(writer.get_mut()).into())
    }))
}
