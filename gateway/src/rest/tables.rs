use super::App;
use super::extract::{Json, Params};
use super::problem::{Problem, Refused, no_content};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::catalog::Catalog;
use common::rpc::master::{Command, Reply};
use common::schema::{Table, TableKind, TableSpec};
use common::time::Micros;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A table.
#[derive(Debug, Serialize, ToSchema)]
pub struct TableInfo {
    /// `dataset.name`.
    name: String,
    /// `raw`, `derived` or `system`.
    #[schema(value_type = String)]
    kind: TableKind,
    /// Number of its tablets.
    tablets: usize,
    /// Tablets that are open.
    open: usize,
    /// The time before which its data is complete, where a loader or runs have said so.
    watermark: Option<String>,
    /// Whether a bulk ingest is open.
    ingesting: bool,
    /// Whether it cannot be dropped.
    protected: bool,
    /// As declared.
    #[schema(value_type = Object)]
    spec: TableSpec,
    /// Of `split_at` in the spec, keys that are left out here: the table by itself shows all.
    #[serde(skip_serializing_if = "Option::is_none")]
    split_at_left_out: Option<usize>,
}

/// Of the keys that tables began to be cut at, a list of tables shows so many each: there may be 19,999.
const SHOWN_SPLITS: usize = 10;

/// All tables.
#[derive(Debug, Serialize, ToSchema)]
pub struct TableList {
    /// By name.
    tables: Vec<TableInfo>,
}

/// A time.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// RFC 3339: everything before it has been written.
    #[schema(example = "2026-01-31T00:00:00Z")]
    at: String,
}

impl TableInfo {
    fn of(table: &Table, catalog: &Catalog) -> Self {
        let tablets = catalog.tablets_of(table.id);
        let watermark = catalog.watermarks.get(&table.id).map(|at| at.to_rfc3339());
        Self {
            name: table.name.clone(),
            kind: table.kind,
            tablets: tablets.len(),
            open: tablets.iter().filter(|t| t.open).count(),
            watermark,
            ingesting: catalog.ingesting.contains(&table.id),
            protected: catalog.protected.contains(&table.id),
            spec: table.spec.clone(),
            split_at_left_out: None,
        }
    }

    /// As it is listed among others.
    fn abridged(mut self) -> Self {
        self.split_at_left_out = self.spec.split_at.len().checked_sub(SHOWN_SPLITS).filter(|left_out| *left_out > 0);
        self.spec.split_at.truncate(SHOWN_SPLITS);
        self
    }
}

/// Create a table.
///
/// A table that exists with the same spec is answered as created; with another, it is a conflict.
#[utoipa::path(post, path = "/v1/tables", tag = "tables", request_body(content = serde_json::Value, description = "a table spec",
    example = json!({"name": "raw.game_events", "key": [{"user_id": "string"}, {"at": "timestamp desc"}, {"event_id": "string"}],
        "columns": {"event_type": "string", "price": "float64"}, "time_column": "at", "lateness": "1h"})),
    responses((status = 201, body = TableInfo), (status = 409, body = Problem, description = "it exists with another spec"), (status = 400, body = Problem)))]
pub async fn create(State(app): State<Arc<App>>, Json(spec): Json<TableSpec>) -> Result<Response, Refused> {
    spec.check()?;
    let Reply::Table { table, .. } = app.cluster.submit(Command::CreateTable { spec }).await? else {
        return Err(Error::internal("the master answered a table's creation with something else").into());
    };
    Ok((StatusCode::CREATED, axum::Json(TableInfo::of(&table, &app.cluster.catalog()))).into_response())
}

/// List all tables.
#[utoipa::path(get, path = "/v1/tables", tag = "tables", responses((status = 200, body = TableList)))]
pub async fn list(State(app): State<Arc<App>>, params: Params) -> Result<axum::Json<TableList>, Refused> {
    params.only(&[])?;
    let catalog = app.cluster.catalog();
    let mut tables: Vec<_> = catalog.tables.iter().map(|t| TableInfo::of(t, &catalog).abridged()).collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(axum::Json(TableList { tables }))
}

/// Get one table.
#[utoipa::path(get, path = "/v1/tables/{table}", tag = "tables", params(("table", description = "`dataset.name`")),
    responses((status = 200, body = TableInfo), (status = 404, body = Problem)))]
pub async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<axum::Json<TableInfo>, Refused> {
    let table = app.cluster.table(&name)?;
    Ok(axum::Json(TableInfo::of(&table, &app.cluster.catalog())))
}

/// Delete a table and its rows.
///
/// Refused while a definition reads it, or while it is protected.
#[utoipa::path(delete, path = "/v1/tables/{table}", tag = "tables", params(("table", description = "`dataset.name`")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn delete(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refused> {
    app.cluster.table(&name)?;
    app.cluster.submit(Command::DropTable { name }).await?;
    Ok(no_content())
}

/// Say that all rows before a time have been written.
///
/// The watermark of a raw table; it never goes back.
#[utoipa::path(put, path = "/v1/tables/{table}/watermark", tag = "tables", params(("table", description = "`dataset.name`")),
    request_body = Watermark, responses((status = 204), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn set_watermark(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(body): Json<Watermark>,
) -> Result<Response, Refused> {
    app.cluster.writable(&name)?;
    let at = Micros::parse(&body.at).map_err(|e| Error::invalid(format!("at: {e}")))?;
    app.cluster.submit(Command::SetWatermark { name, at }).await?;
    Ok(no_content())
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::TableId;
    use serde_json::json;

    fn listed(splits: usize) -> serde_json::Value {
        let split_at = (0..splits).map(|n| vec![json!(format!("{n:05}"))]).collect();
        let spec = TableSpec { split_at, ..TableSpec::named("raw.t") };
        let table = Table::create(TableId(1), TableKind::Raw, spec).unwrap();
        let whole = TableInfo::of(&table, &Catalog::default());
        assert_eq!(whole.spec.split_at.len(), splits);
        serde_json::to_value(whole.abridged()).unwrap()
    }

    #[test]
    fn a_list_says_what_it_leaves_out() {
        let few = listed(SHOWN_SPLITS);
        assert_eq!((few["spec"]["split_at"].as_array().unwrap().len(), &few["split_at_left_out"]), (10, &json!(null)));
        let many = listed(19_999);
        assert_eq!((many["spec"]["split_at"].as_array().unwrap().len(), &many["split_at_left_out"]), (10, &json!(19_989)));
        assert_eq!(many["spec"]["split_at"][9], json!(["00009"]));
    }
}
