//! Writes of one row that depend on what the row holds.

use super::App;
use super::extract::Json;
use super::problem::{Problem, Refused};
use crate::rows::json::{Check, JsonRows, ModifyRow, Shape};
use axum::extract::{Path, State};
use common::rpc::tablet::{Conditional, ConditionalResponse};
use common::time::Micros;
use common::{Error, Result};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// What became of a conditional write.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checked {
    /// Whether the row fitted.
    matched: bool,
    /// The number of its change within its tablet; absent: nothing was to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// The timestamp of its cells that had none of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
}

/// What became of a read-modify-write.
#[derive(Debug, Serialize, ToSchema)]
pub struct Modified {
    /// Key parts and the changed columns with their new values.
    #[schema(value_type = Object)]
    row: Box<RawValue>,
    /// The number of its change within its tablet.
    seq: u64,
    /// The timestamp of the new cells, unless there were later ones.
    timestamp: String,
}

fn time(response: &ConditionalResponse) -> String {
    Micros(response.timestamp).to_rfc3339()
}

/// Change a row if it fits.
///
/// Columns under `if` must have these values, null for none; `exists` asks for the row itself. Then `then` is done, else
/// `else`: each as in a change of rows. Decided and done in one step: no other write comes between.
#[utoipa::path(post, path = "/v1/tables/{table}/row/check", tag = "rows", params(("table", Path, description = "`dataset.name`")),
    request_body(content = Object, example = json!({"key": {"job": "j1"}, "if": {"owner": null}, "then": {"set": {"owner": "w7"}}})),
    responses((status = 200, body = Checked), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem, description = "it is not known whether it was done")))]
pub async fn check(State(app): State<Arc<App>>, Path(name): Path<String>, Json(body): Json<Check>) -> Result<axum::Json<Checked>, Refused> {
    let table = app.cluster.writable(&name)?;
    let wanted = Conditional::Check(JsonRows::new(table.clone()).check_and_mutate(body)?);
    let done = app.cluster.write_conditionally(&table, &wanted).await?;
    Ok(axum::Json(Checked { matched: done.matched, seq: done.seq, timestamp: done.seq.map(|_| time(&done)) }))
}

/// Add to numbers, append to texts.
///
/// Of each column the newest value is taken, changed and written, in one step.
#[utoipa::path(post, path = "/v1/tables/{table}/row/modify", tag = "rows", params(("table", Path, description = "`dataset.name`")),
    request_body(content = Object, example = json!({"key": {"page": "home"}, "increment": {"views": 1}, "append": {"log": "x"}})),
    responses((status = 200, body = Modified), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 503, body = Problem, description = "it is not known whether it was done")))]
pub async fn modify(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(body): Json<ModifyRow>,
) -> Result<axum::Json<Modified>, Refused> {
    let table = app.cluster.writable(&name)?;
    let rows = JsonRows::new(table.clone());
    let wanted = Conditional::Modify(rows.read_modify_write(&body)?);
    let done = app.cluster.write_conditionally(&table, &wanted).await?;
    let timestamp = time(&done);
    let (Some(row), Some(seq)) = (done.row, done.seq) else {
        return Err(Error::internal("a read-modify-write without a row in its answer").into());
    };
    let mut text = String::new();
    rows.write(&row.into(), Shape::Values, &mut text)?;
    let row = RawValue::from_string(text).map_err(|e| Error::internal(format!("a row that is no JSON: {e}")))?;
    Ok(axum::Json(Modified { row, seq, timestamp }))
}
