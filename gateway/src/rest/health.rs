use super::App;
use super::problem::{Problem, Refused};
use super::tablets::TabletPlace;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use common::catalog::Tablet;
use common::{Error, Result};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The cluster as this gateway sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClusterInfo {
    /// Grows with every change.
    catalog_version: u64,
    /// Live tablet servers.
    servers: Vec<ServerInfo>,
    /// All tablets.
    tablets: Vec<TabletInfo>,
}

/// A live tablet server.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerInfo {
    /// Its id.
    id: u64,
    /// Where its RPC listens.
    address: String,
    /// Tablets that it has open.
    tablets: usize,
}

/// A tablet as this gateway routes by it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TabletInfo {
    #[serde(flatten)]
    place: TabletPlace,
    /// Whether it serves.
    open: bool,
}

/// Whether the process runs.
#[utoipa::path(get, path = "/healthz", tag = "cluster", responses((status = 200)))]
pub async fn health() -> Response {
    "ok\n".into_response()
}

/// Whether all tablets serve.
#[utoipa::path(get, path = "/readyz", tag = "cluster", responses((status = 200), (status = 503, body = Problem)))]
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let catalog = app.cluster.catalog();
    let closed = catalog.tablets.iter().filter(|t| !t.open).count();
    if closed > 0 {
        return Err(Error::unavailable(format!("{closed} of {} tablets are not open", catalog.tablets.len())).into());
    }
    Ok("ready\n".into_response())
}

/// Servers and tablets.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster", responses((status = 200, body = ClusterInfo)))]
pub async fn cluster(State(app): State<Arc<App>>) -> axum::Json<ClusterInfo> {
    let catalog = app.cluster.catalog();
    let open_at = |id| catalog.tablets.iter().filter(|t| t.open && t.server == Some(id)).count();
    let servers = catalog.servers.values().map(|s| ServerInfo { id: s.id.0, address: s.address.clone(), tablets: open_at(s.id) });
    let name = |id| catalog.table_by_id(id).map_or("", |t| t.name.as_str());
    let place = |t: &Tablet| TabletPlace::new((t.id.0, t.epoch.0), name(t.table), &t.range, t.server);
    let tablets = catalog.tablets.iter().map(|t| TabletInfo { place: place(t), open: t.open });
    axum::Json(ClusterInfo { catalog_version: catalog.version, servers: servers.collect(), tablets: tablets.collect() })
}
