//! What operators see and do: servers, procedures.

use super::App;
use super::extract::Json;
use super::problem::{Problem, Refused, no_content};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::ids::{ProcedureId, ServerId, TabletId};
use common::rpc::master::{Command, Load, MasterNode, Procedure, ProcedureView, Reply, ServerView, TableSource};
use common::time::Micros;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A tablet server.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerStatus {
    /// Its id.
    id: u64,
    /// Counts its lives.
    incarnation: u64,
    /// Whether the newest goes on.
    live: bool,
    /// Where its RPC listens.
    address: String,
    /// Whether it is being emptied, or kept empty.
    draining: bool,
    /// Tablets that it owns.
    tablets: u64,
    /// Bytes in their SSTables and memtables.
    bytes: u64,
    /// Rows read a second, over the last seconds.
    reads: u64,
    /// Rows written a second, over the last seconds.
    writes: u64,
    /// Requests that this life has made to the object store.
    requests: u64,
    /// Milliseconds since its last report; null: the leader has heard none.
    silent_ms: Option<u64>,
}

/// A procedure.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProcedureStatus {
    /// Its number.
    id: u64,
    /// What it does, in words.
    what: String,
    /// What for: `operator`, `drain`, `balance`, `size`, `load`, `cold`, `schedule`.
    why: String,
    /// `choosing`, `closing`, `deriving`, `flushing`, `copying`; `done` or `failed` when it has ended.
    step: String,
    /// How far that step is, where that is known.
    progress: Option<String>,
    /// Why it failed.
    error: Option<String>,
    /// When it began.
    begun_at: String,
    /// When it ended.
    ended_at: Option<String>,
    /// Ids of the tablets that it makes.
    made: Vec<u64>,
}

/// A procedure to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "procedure", rename_all = "snake_case", deny_unknown_fields)]
pub enum Wanted {
    /// Give a tablet to another server.
    Move {
        /// Which.
        tablet: u64,
        /// To whom; absent: to whoever bears least.
        #[serde(default)]
        to: Option<u64>,
    },
    /// Cut a tablet in two.
    Split {
        /// Which.
        tablet: u64,
        /// First key part values of the upper part, as in a spec's `split_at`; absent: in the middle of its bytes.
        #[serde(default)]
        #[schema(value_type = Option<Vec<Object>>)]
        at: Option<Vec<serde_json::Value>>,
    },
    /// Make one tablet of two neighbours.
    Merge {
        /// The one with the lower keys.
        lower: u64,
        /// The one that begins where it ends.
        upper: u64,
    },
    /// Make a table over the SSTables of another, without a copy. The other one may be dropped afterwards.
    Clone {
        /// A raw table; with `snapshot` or `at` it may be gone.
        table: String,
        /// One of its snapshots; absent: the table as it is now.
        #[serde(default)]
        snapshot: Option<String>,
        /// RFC 3339: the newest of its snapshots that shows nothing written after.
        #[serde(default)]
        at: Option<String>,
        /// `dataset.name` of the new table.
        name: String,
    },
    /// Copy a table to a place outside the cluster.
    Backup {
        /// A raw table; with `snapshot` or `at` it may be gone.
        table: String,
        /// One of its snapshots; absent: the table as it is now.
        #[serde(default)]
        snapshot: Option<String>,
        /// RFC 3339: the newest of its snapshots that shows nothing written after.
        #[serde(default)]
        at: Option<String>,
        /// URL of a folder that holds no backup; the masters must reach it.
        location: String,
    },
    /// Make a table of a backup, of this cluster or another one.
    Restore {
        /// URL of the backup's folder; the masters must reach it.
        location: String,
        /// `dataset.name` of the new table.
        name: String,
    },
}

/// A number.
#[derive(Debug, Serialize, ToSchema)]
pub struct Begun {
    /// The procedure's.
    id: u64,
}

impl Begun {
    /// Of this procedure.
    pub(super) fn of(procedure: ProcedureId) -> Self {
        Self { id: procedure.0 }
    }
}

/// All tablet servers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Servers {
    /// By id.
    servers: Vec<ServerStatus>,
}

/// A master node.
#[derive(Debug, Serialize, ToSchema)]
pub struct MasterStatus {
    /// Its number.
    node: u64,
    /// Where the others reach it.
    address: String,
    /// Whether it votes; else it is still catching up.
    votes: bool,
    /// Whether it leads.
    leads: bool,
    /// The newest entry that it is known to have; 0: unknown.
    matched: u64,
}

/// The masters.
#[derive(Debug, Serialize, ToSchema)]
pub struct Masters {
    /// By number.
    masters: Vec<MasterStatus>,
}

/// Procedures.
#[derive(Debug, Serialize, ToSchema)]
pub struct Procedures {
    /// Oldest first: those under way and the newest that have ended.
    procedures: Vec<ProcedureStatus>,
}

impl From<ServerView> for ServerStatus {
    fn from(v: ServerView) -> Self {
        let Load { reads, writes } = v.load;
        let (id, incarnation) = (v.id.0, v.incarnation.0);
        let ServerView { live, address, draining, tablets, bytes, requests, silent_ms, .. } = v;
        Self { id, incarnation, live, address, draining, tablets, bytes, reads, writes, requests, silent_ms }
    }
}

impl From<ProcedureView> for ProcedureStatus {
    fn from(v: ProcedureView) -> Self {
        Self {
            id: v.id.0,
            what: v.what,
            why: v.why,
            step: v.step,
            progress: v.progress,
            error: v.error,
            begun_at: v.begun_at.to_rfc3339(),
            ended_at: v.ended_at.map(Micros::to_rfc3339),
            made: v.made.into_iter().map(|t| t.0).collect(),
        }
    }
}

/// An answer of another kind than asked for.
pub(super) fn unexpected(reply: &Reply) -> Refused {
    Error::internal(format!("the master answered with {reply:?}")).into()
}

/// Tablet servers with what they hold and bear.
#[utoipa::path(get, path = "/v1/admin/servers", tag = "admin", responses((status = 200, body = Servers), (status = 503, body = Problem)))]
pub async fn servers(State(app): State<Arc<App>>) -> Result<axum::Json<Servers>, Refused> {
    match app.cluster.submit(Command::ListServers).await? {
        Reply::Servers { servers } => Ok(axum::Json(Servers { servers: servers.into_iter().map(Into::into).collect() })),
        other => Err(unexpected(&other)),
    }
}

/// The masters, as the one that leads knows them.
#[utoipa::path(get, path = "/v1/admin/masters", tag = "admin", responses((status = 200, body = Masters), (status = 503, body = Problem)))]
pub async fn masters(State(app): State<Arc<App>>) -> Result<axum::Json<Masters>, Refused> {
    match app.cluster.submit(Command::ListMasters).await? {
        Reply::Masters { nodes } => {
            let status =
                |n: MasterNode| MasterStatus { node: n.node, address: n.address, votes: n.votes, leads: n.leads, matched: n.matched };
            Ok(axum::Json(Masters { masters: nodes.into_iter().map(status).collect() }))
        }
        other => Err(unexpected(&other)),
    }
}

/// Take a master out of the group for good.
#[utoipa::path(delete, path = "/v1/admin/masters/{node}", tag = "admin", params(("node" = u64, Path, description = "its number")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn remove_master(State(app): State<Arc<App>>, Path(node): Path<u64>) -> Result<Response, Refused> {
    app.cluster.submit(Command::RemoveMaster { node }).await?;
    Ok(no_content())
}

/// Procedures under way and the newest that have ended.
#[utoipa::path(get, path = "/v1/admin/procedures", tag = "admin", responses((status = 200, body = Procedures), (status = 503, body = Problem)))]
pub async fn procedures(State(app): State<Arc<App>>) -> Result<axum::Json<Procedures>, Refused> {
    match app.cluster.submit(Command::ListProcedures).await? {
        Reply::Procedures { procedures } => Ok(axum::Json(Procedures { procedures: procedures.into_iter().map(Into::into).collect() })),
        other => Err(unexpected(&other)),
    }
}

/// Move, split or merge tablets; clone, back up or restore a table.
///
/// Answered once the procedure has begun; follow it by its number.
#[utoipa::path(post, path = "/v1/admin/procedures", tag = "admin", request_body(content = Wanted, example = json!({"procedure": "split", "tablet": 7, "at": ["user500"]})),
    responses((status = 202, body = Begun), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn begin(State(app): State<Arc<App>>, Json(wanted): Json<Wanted>) -> Result<Response, Refused> {
    let begin = |procedure| Command::Begin { procedure };
    let command = match wanted {
        Wanted::Move { tablet, to } => begin(Procedure::Move { tablet: TabletId(tablet), to: to.map(ServerId) }),
        Wanted::Split { tablet, at } => {
            let at = at.map(|values| key(&app, TabletId(tablet), &values)).transpose()?;
            begin(Procedure::Split { tablet: TabletId(tablet), at })
        }
        Wanted::Merge { lower, upper } => begin(Procedure::Merge { tablets: [TabletId(lower), TabletId(upper)] }),
        Wanted::Clone { table, snapshot, at, name } => Command::CloneTable { source: source(table, snapshot, at)?, name },
        Wanted::Backup { table, snapshot, at, location } => Command::BackupTable { source: source(table, snapshot, at)?, location },
        Wanted::Restore { location, name } => Command::RestoreTable { location, name, contents: None },
    };
    match app.cluster.submit(command).await? {
        Reply::Begun { procedure } => Ok((StatusCode::ACCEPTED, axum::Json(Begun::of(procedure))).into_response()),
        other => Err(unexpected(&other)),
    }
}

fn source(table: String, snapshot: Option<String>, at: Option<String>) -> Result<TableSource> {
    match (snapshot, at) {
        (None, None) => Ok(TableSource::Table { table }),
        (Some(snapshot), None) => Ok(TableSource::Snapshot { table, snapshot }),
        (None, Some(at)) => Ok(TableSource::At { table, at: Micros::parse(&at).map_err(|e| Error::invalid(format!("at: {e}")))? }),
        (Some(_), Some(_)) => Err(Error::invalid("'snapshot' and 'at' both name a snapshot: give one of them")),
    }
}

/// A row key of the tablet's table, from its first key parts.
fn key(app: &App, tablet: TabletId, values: &[serde_json::Value]) -> Result<Bytes> {
    let catalog = app.cluster.catalog();
    let found = catalog.tablets.iter().find(|t| t.id == tablet).and_then(|t| catalog.table_by_id(t.table));
    let table = found.ok_or_else(|| Error::not_found(format!("tablet {tablet} does not exist")))?;
    table.key_prefix(values).map(Bytes::from).map_err(|e| e.context("at"))
}

/// End a procedure that has not closed its tablets yet.
#[utoipa::path(delete, path = "/v1/admin/procedures/{procedure}", tag = "admin", params(("procedure" = u64, Path, description = "its number")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn cancel(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Result<Response, Refused> {
    app.cluster.submit(Command::Cancel { procedure: ProcedureId(id) }).await?;
    Ok(no_content())
}

/// Move all tablets off a server, and give it none.
#[utoipa::path(put, path = "/v1/admin/servers/{server}/drain", tag = "admin", params(("server" = u64, Path, description = "its id")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn drain(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Result<Response, Refused> {
    app.cluster.submit(Command::Drain { server: ServerId(id), drain: true }).await?;
    Ok(no_content())
}

/// Let a server have tablets again.
#[utoipa::path(delete, path = "/v1/admin/servers/{server}/drain", tag = "admin", params(("server" = u64, Path, description = "its id")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn undrain(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Result<Response, Refused> {
    app.cluster.submit(Command::Drain { server: ServerId(id), drain: false }).await?;
    Ok(no_content())
}
