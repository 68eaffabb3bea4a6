//! Tablets as clients see them: where they lie, and for operators what they bear.

use super::App;
use super::admin::unexpected;
use super::extract::Params;
use super::problem::{Problem, Refused};
use axum::extract::State;
use bytes::Bytes;
use common::ids::ServerId;
use common::key::KeyRange;
use common::rpc::master::{Command, Reply, TabletView};
use common::{Error, Result};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Tablets on a page, unless asked otherwise.
const PAGE: u32 = 1_000;
/// Tablets on a page at most.
const MAX_PAGE: u32 = 10_000;

/// Which rows a tablet has, and who has the tablet.
#[derive(Debug, Serialize, ToSchema)]
pub struct TabletPlace {
    /// Its id.
    id: u64,
    /// Its table.
    table: String,
    /// First row key, hexadecimal.
    start: String,
    /// First row key behind it; null: none.
    end: Option<String>,
    /// Grows with every assignment.
    epoch: u64,
    /// Its owner; null while it waits for one.
    server: Option<u64>,
}

/// A tablet with what it bears.
#[derive(Debug, Serialize, ToSchema)]
pub struct TabletStatus {
    #[serde(flatten)]
    place: TabletPlace,
    /// `open`, `opening`, `closing`, `waiting`, or why it cannot be opened.
    state: String,
    /// Bytes in its SSTables and memtables.
    bytes: u64,
    /// Rows read a second, over the last seconds.
    reads: u64,
    /// Rows written a second, over the last seconds.
    writes: u64,
    /// The procedure that has it.
    procedure: Option<u64>,
}

/// Tablets.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tablets {
    /// By table, then key.
    tablets: Vec<TabletStatus>,
    /// Where the next page begins (`after`); absent: this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl TabletPlace {
    /// Of a tablet of this id and epoch.
    pub fn new((id, epoch): (u64, u64), table: &str, range: &KeyRange, server: Option<ServerId>) -> Self {
        let (start, end) = (hex::encode(&range.start), range.end.as_ref().map(hex::encode));
        Self { id, table: table.to_owned(), start, end, epoch, server: server.map(|s| s.0) }
    }
}

impl From<TabletView> for TabletStatus {
    fn from(v: TabletView) -> Self {
        Self {
            place: TabletPlace::new((v.id.0, v.epoch.0), &v.name, &v.range, v.server),
            state: v.state,
            bytes: v.bytes,
            reads: v.load.reads,
            writes: v.load.writes,
            procedure: v.procedure.map(|p| p.0),
        }
    }
}

/// Tablets with what they hold and bear, page by page.
#[utoipa::path(get, path = "/v1/admin/tablets", tag = "admin", params(("table" = Option<String>, Query, description = "only of this table"),
        ("limit" = Option<u32>, Query, description = "at most so many; 1,000 if absent, 10,000 at most"),
        ("after" = Option<String>, Query, description = "what the page before gave as `next`")),
    responses((status = 200, body = Tablets), (status = 400, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, params: Params) -> Result<axum::Json<Tablets>, Refused> {
    params.only(&["table", "limit", "after"])?;
    let table = params.get("table").map(|name| app.cluster.table(name)).transpose()?.map(|table| table.id);
    let limit = params.get("limit").map_or(Ok(PAGE), page_limit)?;
    let after = params.get("after").map(page_place).transpose()?;
    match app.cluster.submit(Command::ListTablets { table, after, limit }).await? {
        Reply::Tablets { tablets, more } => {
            let next = tablets.last().filter(|_| more).map(|last| format!("{}/{}", last.name, hex::encode(&last.range.start)));
            Ok(axum::Json(Tablets { tablets: tablets.into_iter().map(Into::into).collect(), next }))
        }
        other => Err(unexpected(&other)),
    }
}

fn page_limit(text: &str) -> Result<u32> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
    limit.ok_or_else(|| Error::invalid(format!("limit '{text}' is not a number from 1 to {MAX_PAGE}")))
}

/// Where a page begins: behind a table's tablet that begins at a key.
fn page_place(text: &str) -> Result<(String, Bytes)> {
    let place = text.rsplit_once('/').and_then(|(table, start)| Some((table.to_owned(), hex::decode(start).ok()?.into())));
    place.ok_or_else(|| Error::invalid(format!("after '{text}' is not what a page gave as `next`")))
}
