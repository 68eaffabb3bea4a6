use super::App;
use super::extract::{JSON, Json, Params};
use super::problem::{Problem, Refused, no_content};
use super::query::RowQuery;
use crate::rows::json::{JsonRows, Shape};
use crate::runner::api::{self, DefinitionView, Findings, Order, PlanView, Verified};
use crate::runner::{Status, TableStatus};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::catalog::RUNS_TABLE;
use common::row::ReadSpec;
use common::time::{Micros, parse_duration};
use common::{Error, Result};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// A request for freshness is answered after this time at the latest.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Runs that are listed, if the client does not say.
const RUNS: usize = 50;

/// The files of a project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Text by path: `derived/*.yaml` with the SQL files that they name, `sources/`, `seeds/`, `macros/`, `stele.yaml`.
    #[schema(value_type = Object)]
    files: BTreeMap<String, String>,
    /// Where; left out: production.
    #[serde(default)]
    environment: String,
    /// Whether definitions that the files do not have are retired.
    #[serde(default)]
    prune: bool,
    /// The plan's `base`: refused if definitions have changed since.
    #[serde(default)]
    base: Option<u64>,
}

impl From<Files> for Order {
    fn from(f: Files) -> Self {
        Self { files: f.files, environment: f.environment, prune: f.prune, base: f.base }
    }
}

/// An applied definition and where its table stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct DerivedInfo {
    /// The definition.
    #[serde(flatten)]
    definition: DefinitionView,
    /// As this gateway's runner sees it; null if it has none.
    status: Option<TableStatus>,
}

/// Times to compute anew.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// RFC 3339; default: the beginning.
    #[serde(default)]
    from: Option<String>,
    /// RFC 3339, exclusive; default: the end.
    #[serde(default)]
    to: Option<String>,
}

/// Where all derived tables stand.
#[utoipa::path(get, path = "/v1/derived", tag = "derived",
    params(("wait" = Option<String>, Query, description = "answer when all changes of inputs so far are followed up, or after this time (`500ms`, `1m`)")),
    responses((status = 200, body = Status), (status = 503, body = Problem, description = "this gateway runs no derived tables")))]
pub async fn list(State(app): State<Arc<App>>, params: Params) -> Result<axum::Json<Status>, Refused> {
    params.only(&["wait"])?;
    let wait = params.get("wait").map(parse_duration).transpose().map_err(|e| Error::invalid(format!("wait: {e}")))?;
    let status = api::status(app.runner.as_ref(), wait.map(|w| w.min(LONGEST_WAIT))).await?;
    Ok(axum::Json(Status::clone(&status)))
}

/// Get one definition and where its table stands.
#[utoipa::path(get, path = "/v1/derived/{table}", tag = "derived", params(("table", description = "`dataset.name`")),
    responses((status = 200, body = DerivedInfo), (status = 404, body = Problem)))]
pub async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<axum::Json<DerivedInfo>, Refused> {
    let definition = api::get(&app.cluster, &name)?;
    let status = app.runner.as_ref().map(|r| r.status());
    let status = status.and_then(|s| s.tables.iter().find(|t| t.table == name).cloned());
    Ok(axum::Json(DerivedInfo { definition, status }))
}

/// The runs of one table, newest first.
///
/// All runs are in the table `system.runs`.
#[utoipa::path(get, path = "/v1/derived/{table}/runs", tag = "derived",
    params(("table", Path, description = "`dataset.name`"), ("limit" = Option<usize>, Query, description = "runs at most; default 50")),
    responses((status = 200, body = serde_json::Value, description = "`{runs: […]}`"), (status = 404, body = Problem)))]
pub async fn runs(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params) -> Result<Response, Refused> {
    params.only(&["limit"])?;
    api::get(&app.cluster, &name)?;
    let rows = JsonRows::new(app.cluster.table(RUNS_TABLE)?);
    let key = params.0.into_iter().chain([("table_name".to_owned(), name)]).collect::<Vec<_>>();
    let query = RowQuery::parse(&rows, &key)?;
    let spec = ReadSpec { row_limit: query.limit.unwrap_or(RUNS) as u64, ..query.spec };
    let found: Vec<_> = app.cluster.read(rows.table(), spec, None).try_collect().await?;
    let mut out = String::from("{\"runs\":[");
    for (i, row) in found.iter().flatten().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        rows.write(row, Shape::Values, &mut out)?;
    }
    out.push_str("]}");
    Ok(([(CONTENT_TYPE, JSON)], out).into_response())
}

/// Check definitions; nothing is changed.
#[utoipa::path(post, path = "/v1/derived/validate", tag = "derived", request_body = Files,
    responses((status = 200, body = Findings), (status = 400, body = Problem, description = "everything that is wrong, by file and line")))]
pub async fn validate(State(app): State<Arc<App>>, Json(body): Json<Files>) -> Result<axum::Json<Findings>, Refused> {
    Ok(axum::Json(api::validate(&app.cluster, &app.sql, &body.files).await?))
}

/// Say what applying definitions would change; nothing is changed.
#[utoipa::path(post, path = "/v1/derived/plan", tag = "derived", request_body = Files,
    responses((status = 200, body = PlanView), (status = 400, body = Problem)))]
pub async fn plan(State(app): State<Arc<App>>, Json(body): Json<Files>) -> Result<axum::Json<PlanView>, Refused> {
    Ok(axum::Json(api::show_plan(&app.cluster, &app.sql, &body.into()).await?))
}

/// Apply definitions, all or none.
///
/// Where a table gets another form it is built beside the one that serves, and takes its place when it has caught up.
#[utoipa::path(post, path = "/v1/derived/apply", tag = "derived", request_body = Files,
    responses((status = 200, body = Findings), (status = 400, body = Problem, description = "everything that is wrong, by file and line")))]
pub async fn apply(State(app): State<Arc<App>>, Json(body): Json<Files>) -> Result<axum::Json<Findings>, Refused> {
    Ok(axum::Json(api::apply(&app.cluster, &app.sql, &body.into()).await?))
}

/// Compute a table anew, or some of its times.
#[utoipa::path(post, path = "/v1/derived/{table}/run", tag = "derived", params(("table", description = "`dataset.name`")),
    request_body(content = Range, description = "may be left out: all of it"), responses((status = 204), (status = 404, body = Problem)))]
pub async fn run(State(app): State<Arc<App>>, Path(name): Path<String>, body: Bytes) -> Result<Response, Refused> {
    let range: Range = match body.is_empty() {
        true => Range::default(),
        false => serde_json::from_slice(&body).map_err(|e| Error::invalid(format!("the body is not {{from, to}}: {e}")))?,
    };
    let at = |text: Option<&str>, open| text.map_or(Ok(open), |t| Micros::parse(t).map_err(Error::invalid));
    let ends = (at(range.from.as_deref(), Micros::MIN)?, at(range.to.as_deref(), Micros::MAX)?);
    let some = (range.from.is_some() || range.to.is_some()).then_some(ends);
    api::run_now(&app.cluster, app.runner.as_ref(), &name, some).await?;
    Ok(no_content())
}

/// Read all of a table and compare it with what its runs have published.
///
/// With `repair=true`, altered windows are computed anew, and a table that cannot be read any more is built anew beside it.
#[utoipa::path(post, path = "/v1/derived/{table}/verify", tag = "derived",
    params(("table", Path, description = "`dataset.name`"), ("repair" = Option<bool>, Query, description = "have computed anew what is wrong")),
    responses((status = 200, body = Verified), (status = 404, body = Problem)))]
pub async fn verify(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params) -> Result<axum::Json<Verified>, Refused> {
    params.only(&["repair"])?;
    let repair = match params.get("repair") {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(other) => return Err(Error::invalid(format!("repair: '{other}' is neither true nor false")).into()),
    };
    Ok(axum::Json(api::verify(&app.cluster, &name, repair).await?))
}

/// Let a table rest: its last good version serves.
#[utoipa::path(post, path = "/v1/derived/{table}/pause", tag = "derived", params(("table", description = "`dataset.name`")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn pause(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refused> {
    api::pause(&app.cluster, app.runner.as_ref(), &name, true).await?;
    Ok(no_content())
}

/// End a table's rest, and try failed windows again.
#[utoipa::path(post, path = "/v1/derived/{table}/resume", tag = "derived", params(("table", description = "`dataset.name`")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn resume(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refused> {
    api::pause(&app.cluster, app.runner.as_ref(), &name, false).await?;
    Ok(no_content())
}
