//! REST: one file a resource, all described by `/openapi.json` and browsable at `/docs`.
//!
//! Every error is a problem document. Parts, one way: `problem` → `deadline`, `lines`, `page`, `encode` → `extract`, `query` →
//! the resources → [`router`].

mod admin;
mod batch;
mod conditional;
mod deadline;
mod delete;
mod derived;
mod encode;
mod environments;
mod extract;
mod health;
mod ingest;
mod lines;
mod mutate;
mod page;
mod problem;
mod query;
#[cfg(test)]
mod query_tests;
mod rows;
mod snapshots;
mod sql;
mod tables;
mod tablets;

use crate::cluster::Cluster;
use crate::runner::Runner;
use crate::sql::Sql;
use crate::writes::Admission;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, map_response};
use axum::routing::{delete, get, post, put};
pub use problem::Problem;
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

/// What handlers share.
pub struct App {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// Its SQL.
    pub sql: Arc<Sql>,
    /// The runner of derived tables, if this gateway has one.
    pub runner: Option<Arc<Runner>>,
    /// Rows on their way to tablets.
    pub admission: Arc<Admission>,
}

/// The description of all routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "Stele", description = "A wide-column store on object storage that keeps derived tables up to date.\n\n\
        Every error is a problem document. 429 and 503 carry Retry-After. The header `stele-timeout: 2.5` asks for an answer within so \
        many seconds, else 504."),
    paths(
        tables::create, tables::list, tables::get, tables::delete, tables::set_watermark,
        rows::one, rows::range, mutate::mutate, delete::range, conditional::check, conditional::modify, ingest::ingest, ingest::open, ingest::close,
        batch::get, sql::run,
        derived::list, derived::get, derived::runs, derived::validate, derived::plan, derived::apply, derived::run, derived::verify, derived::pause, derived::resume,
        environments::list, environments::promote, environments::discard,
        admin::masters, admin::remove_master, admin::servers, admin::drain, admin::undrain, tablets::list, admin::procedures, admin::begin, admin::cancel,
        snapshots::list, snapshots::take, snapshots::discard, snapshots::schedule, snapshots::unschedule, snapshots::protect,
        snapshots::unprotect,
        health::health, health::ready, health::cluster,
    ),
    tags(
        (name = "tables", description = "Tables and their watermarks"),
        (name = "rows", description = "Reading and writing rows, typed by their table's schema"),
        (name = "sql", description = "Queries over all tables"),
        (name = "derived", description = "Tables that are defined by SQL and kept up to date"),
        (name = "admin", description = "Servers, tablets, snapshots, backups, and what is done with them"),
        (name = "cluster", description = "Health and layout"),
    )
)]
struct Api;

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/tables", post(tables::create).get(tables::list))
        .route("/v1/tables/{table}", get(tables::get).delete(tables::delete))
        .route("/v1/tables/{table}/watermark", put(tables::set_watermark))
        .route("/v1/tables/{table}/row", get(rows::one))
        .route("/v1/tables/{table}/row/check", post(conditional::check))
        .route("/v1/tables/{table}/row/modify", post(conditional::modify))
        .route("/v1/tables/{table}/rows", get(rows::range).post(mutate::mutate).delete(delete::range))
        .route("/v1/tables/{table}/ingest", post(ingest::ingest).layer(DefaultBodyLimit::disable()))
        .route("/v1/tables/{table}/ingests/{ingest}", put(ingest::open).delete(ingest::close))
        .route("/v1/rows:batchGet", post(batch::get))
        .route("/v1/sql", post(sql::run))
        .route("/v1/derived", get(derived::list))
        .route("/v1/derived/validate", post(derived::validate))
        .route("/v1/derived/plan", post(derived::plan))
        .route("/v1/derived/apply", post(derived::apply))
        .route("/v1/environments", get(environments::list))
        .route("/v1/environments/{environment}/promote", post(environments::promote))
        .route("/v1/environments/{environment}", delete(environments::discard))
        .route("/v1/derived/{table}", get(derived::get))
        .route("/v1/derived/{table}/runs", get(derived::runs))
        .route("/v1/derived/{table}/run", post(derived::run))
        .route("/v1/derived/{table}/verify", post(derived::verify))
        .route("/v1/derived/{table}/pause", post(derived::pause))
        .route("/v1/derived/{table}/resume", post(derived::resume))
        .route("/v1/admin/masters", get(admin::masters))
        .route("/v1/admin/masters/{node}", delete(admin::remove_master))
        .route("/v1/admin/servers", get(admin::servers))
        .route("/v1/admin/servers/{server}/drain", put(admin::drain).delete(admin::undrain))
        .route("/v1/admin/tablets", get(tablets::list))
        .route("/v1/admin/procedures", get(admin::procedures).post(admin::begin))
        .route("/v1/admin/procedures/{procedure}", delete(admin::cancel))
        .route("/v1/admin/snapshots", get(snapshots::list).post(snapshots::take))
        .route("/v1/admin/snapshots/{table}/{name}", delete(snapshots::discard))
        .route("/v1/admin/tables/{table}/schedule", put(snapshots::schedule).delete(snapshots::unschedule))
        .route("/v1/admin/tables/{table}/protection", put(snapshots::protect).delete(snapshots::unprotect))
        .route("/v1/cluster", get(health::cluster))
        .route("/healthz", get(health::health))
        .route("/readyz", get(health::ready))
        .with_state(app)
        .merge(SwaggerUi::new("/docs").url("/openapi.json", Api::openapi()))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(from_fn(deadline::within))
        .layer(map_response(problem::normalise))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described() {
        let api = serde_json::to_value(Api::openapi()).unwrap();
        let paths = api["paths"].as_object().unwrap();
        for path in ["/v1/tables/{table}/rows", "/v1/tables/{table}/ingest", "/v1/sql", "/v1/derived/{table}/run", "/readyz"] {
            assert!(paths.contains_key(path), "{path}");
        }
        assert_eq!(paths.len(), 38);
        assert!(api["components"]["schemas"]["Problem"]["properties"]["detail"].is_object());
    }
}
