use super::App;
use super::extract::Json;
use super::problem::{Problem, Refused, RowProblem};
use crate::rows::json::{Change, JsonRows};
use crate::writes::write_each;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::row::{Committed, RowMutation};
use common::{Error, Result, limits};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Rows to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Each row by itself is changed as a whole or not at all.
    #[schema(value_type = Vec<Object>, example = json!([{"set": {"user_id": "u1", "at": "2026-01-15T18:00:00Z", "event_id": "e1", "price": 4.99}},
        {"key": {"user_id": "u1", "at": "2026-01-15T18:00:00Z", "event_id": "e2"}, "delete": "row"},
        {"key": {"user_id": "u1", "at": "2026-01-15T18:00:00Z", "event_id": "e3"}, "delete": {"columns": ["price"]}, "set": {"item_id": "sword"}}]))]
    rows: Vec<Change>,
}

/// What became of each row.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changed {
    /// In the order of the request.
    results: Vec<RowOutcome>,
    /// Rows that were refused.
    failed: usize,
}

/// What became of one row.
#[derive(Debug, Serialize, ToSchema)]
pub struct RowOutcome {
    /// Its place in the request, from 0.
    index: usize,
    /// Whether it was changed.
    ok: bool,
    /// The number of its change within its tablet.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// The timestamp of its cells that had none of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    /// Why it was not changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RowProblem>,
}

/// Change rows.
///
/// For each row what to `delete` (`"row"`, or `columns`, `families`, cell timestamps `from`/`to` of columns), then what to
/// `set`. Status 200 if all rows were changed, 207 if some were not; each has its own result. If the cluster has taken none of
/// them for now, the answer is a problem (429 or 503) that says when to send all of them again.
#[utoipa::path(post, path = "/v1/tables/{table}/rows", tag = "rows", params(("table", Path, description = "`dataset.name`")),
    request_body = Changes, responses((status = 200, body = Changed), (status = 207, body = Changed, description = "some rows were refused"),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem, description = "only runs write derived tables"),
        (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn mutate(State(app): State<Arc<App>>, Path(name): Path<String>, Json(body): Json<Changes>) -> Result<Response, Refused> {
    let table = app.cluster.writable(&name)?;
    let rows = JsonRows::new(table.clone());
    let parsed: Vec<Result<RowMutation>> = body.rows.iter().map(|c| rows.change(c)).collect();
    let count: usize = parsed.iter().flatten().map(|m| m.mutations.len()).sum();
    if count > limits::MAX_MUTATIONS_PER_REQUEST {
        let most = limits::MAX_MUTATIONS_PER_REQUEST;
        return Err(Error::invalid(format!("{count} changes in one request; at most {most} are allowed: send them in parts")).into());
    }
    let _held = app.admission.admit(parsed.iter().flatten().map(RowMutation::weight).sum()).await?;
    let results = write_each(&app.cluster, &table, parsed).await?;
    let results: Vec<_> = results.into_iter().enumerate().map(|(index, result)| RowOutcome::of(index, result)).collect();
    let failed = results.iter().filter(|r| !r.ok).count();
    let status = if failed == 0 { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok((status, axum::Json(Changed { results, failed })).into_response())
}

impl RowOutcome {
    fn of(index: usize, result: Result<Committed>) -> Self {
        let (seq, timestamp, error) = match result {
            Ok(c) => (Some(c.seq.0), Some(c.timestamp.to_rfc3339()), None),
            Err(e) => (None, None, Some(e.into())),
        };
        Self { index, ok: error.is_none(), seq, timestamp, error }
    }
}
