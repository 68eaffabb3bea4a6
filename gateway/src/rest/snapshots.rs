//! Snapshots of tables, their schedules, and protection from being dropped.

use super::App;
use super::admin::{Begun, unexpected};
use super::extract::{Json, Params};
use super::problem::{Problem, Refused, no_content};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::rpc::master::{Command, Reply, Schedule, SnapshotPartView, SnapshotStage, SnapshotView};
use common::time::{Micros, parse_duration};
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub struct SnapshotStatus {
    /// The number of the procedure that takes it.
    id: u64,
    /// The table that it is of, which may be gone.
    table: String,
    /// Its name.
    name: String,
    /// `operator` or `schedule`.
    why: String,
    /// `taking`, `ready`.
    state: String,
    /// All that was acknowledged before is in it.
    begun_at: String,
    /// Nothing written after is in it; null while it is being taken.
    taken_at: Option<String>,
    /// When it is dropped by itself.
    expires_at: Option<String>,
    /// Bytes of its SSTables.
    bytes: u64,
    /// Its parts in key order.
    parts: Vec<SnapshotPart>,
}

/// A tablet at one seq.
#[derive(Debug, Serialize, ToSchema)]
pub struct SnapshotPart {
    /// The tablet, which may have ended.
    tablet: u64,
    /// First row key, hexadecimal.
    start: String,
    /// First row key behind it; null: none.
    end: Option<String>,
    /// The newest row mutation in it.
    seq: u64,
    /// Bytes of the tablet's SSTables.
    bytes: u64,
}

/// Snapshots.
#[derive(Debug, Serialize, ToSchema)]
pub struct Snapshots {
    /// By table, then time.
    snapshots: Vec<SnapshotStatus>,
    /// Which tables snapshots are taken of again and again.
    schedules: Vec<ScheduleStatus>,
}

/// Snapshots that are taken again and again.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleStatus {
    /// The table.
    table: String,
    /// Seconds from one to the next.
    every_seconds: u64,
    /// How many are kept.
    keep: u64,
}

/// A snapshot to take.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedSnapshot {
    /// `dataset.name` of a raw table.
    table: String,
    /// Unique among the table's; absent: the time.
    #[serde(default)]
    name: Option<String>,
    /// After which it is dropped, such as `7d`; absent: never.
    #[serde(default)]
    expires_after: Option<String>,
}

/// Snapshots to take again and again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedSchedule {
    /// From one to the next, such as `1h`.
    every: String,
    /// How many are kept.
    keep: u64,
}

impl From<SnapshotView> for SnapshotStatus {
    fn from(v: SnapshotView) -> Self {
        let state = match v.stage {
            SnapshotStage::Taking => "taking",
            SnapshotStage::Ready => "ready",
            SnapshotStage::Dropping => "dropping",
        };
        Self {
            id: v.id.0,
            table: v.table,
            name: v.name,
            why: v.why,
            state: state.into(),
            begun_at: v.begun_at.to_rfc3339(),
            taken_at: v.taken_at.map(Micros::to_rfc3339),
            expires_at: v.expires_at.map(Micros::to_rfc3339),
            bytes: v.parts.iter().map(|p| p.bytes).sum(),
            parts: v.parts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<SnapshotPartView> for SnapshotPart {
    fn from(v: SnapshotPartView) -> Self {
        let hex = |key: &[u8]| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (start, end) = (hex(&v.range.start), v.range.end.as_deref().map(hex));
        Self { tablet: v.tablet.0, start, end, seq: v.seq.0, bytes: v.bytes }
    }
}

fn seconds(text: &str, member: &str) -> Result<u64> {
    let parsed = parse_duration(text).map_err(|e| Error::invalid(format!("{member}: {e}")))?;
    Ok(parsed.as_secs())
}

/// Snapshots of tables, and which are taken by schedule.
#[utoipa::path(get, path = "/v1/admin/snapshots", tag = "admin",
    params(("table" = Option<String>, Query, description = "only of this table, which may be gone")),
    responses((status = 200, body = Snapshots), (status = 503, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, params: Params) -> Result<axum::Json<Snapshots>, Refused> {
    params.only(&["table"])?;
    let only = params.get("table");
    let wanted = |table: &str| only.is_none_or(|only| only == table);
    match app.cluster.submit(Command::ListSnapshots).await? {
        Reply::Snapshots { snapshots, schedules } => {
            let schedule = |(table, s): (String, Schedule)| ScheduleStatus { table, every_seconds: s.every, keep: s.keep };
            Ok(axum::Json(Snapshots {
                snapshots: snapshots.into_iter().filter(|s| wanted(&s.table)).map(Into::into).collect(),
                schedules: schedules.into_iter().filter(|(table, _)| wanted(table)).map(schedule).collect(),
            }))
        }
        other => Err(unexpected(&other)),
    }
}

/// Take a snapshot of a raw table.
///
/// Answered once that has begun: it can be used when the procedure of this number is done. All that was acknowledged before
/// the request is in it; each tablet is shown at one seq. It costs no copy, and holds what it shows until it is dropped.
#[utoipa::path(post, path = "/v1/admin/snapshots", tag = "admin",
    request_body(content = WantedSnapshot, example = json!({"table": "raw.game_events", "name": "before-upgrade", "expires_after": "7d"})),
    responses((status = 202, body = Begun), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn take(State(app): State<Arc<App>>, Json(wanted): Json<WantedSnapshot>) -> Result<Response, Refused> {
    let expires_after = wanted.expires_after.as_deref().map(|text| seconds(text, "expires_after")).transpose()?;
    let name = wanted.name.unwrap_or_else(|| app.cluster.clock().now().to_rfc3339());
    match app.cluster.submit(Command::TakeSnapshot { table: wanted.table, name, expires_after }).await? {
        Reply::Begun { procedure } => Ok((StatusCode::ACCEPTED, axum::Json(Begun::of(procedure))).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// Drop a snapshot.
///
/// Refused while something is being made of it. What only it held is deleted.
#[utoipa::path(delete, path = "/v1/admin/snapshots/{table}/{name}", tag = "admin",
    params(("table", Path, description = "`dataset.name`"), ("name", Path, description = "the snapshot's")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn discard(State(app): State<Arc<App>>, Path((table, name)): Path<(String, String)>) -> Result<Response, Refused> {
    app.cluster.submit(Command::DropSnapshot { table, name }).await?;
    Ok(no_content())
}

/// Take snapshots of a raw table again and again.
///
/// They are named by their time; the oldest of the schedule is dropped when there is one more than are kept.
#[utoipa::path(put, path = "/v1/admin/tables/{table}/schedule", tag = "admin", params(("table", Path, description = "`dataset.name`")),
    request_body(content = WantedSchedule, example = json!({"every": "1h", "keep": 24})),
    responses((status = 204), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn schedule(
    State(app): State<Arc<App>>,
    Path(table): Path<String>,
    Json(wanted): Json<WantedSchedule>,
) -> Result<Response, Refused> {
    let every = seconds(&wanted.every, "every")?;
    app.cluster.submit(Command::ScheduleSnapshots { table, schedule: Some(Schedule { every, keep: wanted.keep }) }).await?;
    Ok(no_content())
}

/// Take no more snapshots by schedule; those there stay.
#[utoipa::path(delete, path = "/v1/admin/tables/{table}/schedule", tag = "admin", params(("table", Path, description = "`dataset.name`")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn unschedule(State(app): State<Arc<App>>, Path(table): Path<String>) -> Result<Response, Refused> {
    app.cluster.submit(Command::ScheduleSnapshots { table, schedule: None }).await?;
    Ok(no_content())
}

/// Refuse to drop a table from now on.
#[utoipa::path(put, path = "/v1/admin/tables/{table}/protection", tag = "admin", params(("table", Path, description = "`dataset.name`")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn protect(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refused> {
    app.cluster.submit(Command::ProtectTable { name, protected: true }).await?;
    Ok(no_content())
}

/// Allow a table to be dropped again.
#[utoipa::path(delete, path = "/v1/admin/tables/{table}/protection", tag = "admin", params(("table", Path, description = "`dataset.name`")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn unprotect(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refused> {
    app.cluster.submit(Command::ProtectTable { name, protected: false }).await?;
    Ok(no_content())
}
