use super::App;
use super::problem::{Problem, Refused, no_content};
use crate::runner::api::{self, EnvironmentView};
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Environments of derived tables.
#[derive(Debug, Serialize, ToSchema)]
pub struct Environments {
    /// By name.
    environments: Vec<EnvironmentView>,
}

/// List environments: those that were chosen, changes that are being built, and what changes have replaced.
#[utoipa::path(get, path = "/v1/environments", tag = "derived", responses((status = 200, body = Environments)))]
pub async fn list(State(app): State<Arc<App>>) -> axum::Json<Environments> {
    axum::Json(Environments { environments: api::environments(&app.cluster.catalog()) })
}

/// Put an environment's tables in the place of production's.
///
/// What they replace is kept for 7 days in an environment `undo…`; promoting that takes the change back.
#[utoipa::path(post, path = "/v1/environments/{environment}/promote", tag = "derived", params(("environment", description = "its name")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem, description = "a table is not fresh")))]
pub async fn promote(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refused> {
    api::promote(&app.cluster, app.runner.as_ref(), &name).await?;
    Ok(no_content())
}

/// Drop an environment with its tables.
#[utoipa::path(delete, path = "/v1/environments/{environment}", tag = "derived", params(("environment", description = "its name")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn discard(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refused> {
    api::discard(&app.cluster, &name).await?;
    Ok(no_content())
}
