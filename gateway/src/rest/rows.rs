use super::App;
use super::extract::{JSON, NDJSON, Params, accepted, streamed};
use super::page::PageToken;
use super::problem::{Problem, Refused};
use super::query::RowQuery;
use crate::rows::json::JsonRows;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::key::KeyRange;
use common::row::{ReadSpec, Row};
use common::version::VersionMap;
use common::{Error, Result};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use std::sync::Arc;

/// Rows of a page, if the client does not say.
const PAGE_ROWS: usize = 1_000;
/// Rows and bytes of a page at most: a page is held in memory.
const MOST_PAGE_ROWS: usize = 50_000;
const MOST_PAGE_BYTES: usize = 32 << 20;

/// Read one row.
///
/// By all of its key parts (or `row_key`), each a parameter of its name.
#[utoipa::path(get, path = "/v1/tables/{table}/row", tag = "rows",
    params(("table", Path, description = "`dataset.name`"),
        ("columns" = Option<String>, Query, description = "columns, families and undeclared attributes, separated by commas; default: all"),
        ("cells" = Option<bool>, Query, description = "list all cells with family, qualifier and timestamp"),
        ("cells_from" = Option<String>, Query, description = "cell timestamps from here on"),
        ("cells_to" = Option<String>, Query, description = "cell timestamps before this")),
    responses((status = 200, body = serde_json::Value, description = "key parts, declared columns, undeclared attributes"),
        (status = 404, body = Problem), (status = 400, body = Problem)))]
pub async fn one(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params) -> Result<Response, Refused> {
    let rows = JsonRows::new(app.cluster.table(&name)?);
    let query = RowQuery::one(&rows, &params.0)?;
    let spec = ReadSpec { row_limit: 1, ..query.spec };
    let found: Vec<Vec<Row>> = app.cluster.read(rows.table(), spec, None).try_collect().await?;
    let Some(row) = found.first().and_then(|r| r.first()) else {
        return Err(Error::not_found(format!("table '{name}' has no row of this key")).into());
    };
    let mut out = String::new();
    rows.write(row, query.shape, &mut out)?;
    Ok(([(CONTENT_TYPE, JSON)], out).into_response())
}

/// Read rows by key, key prefix and time range.
///
/// Give the leading key parts by name. `from` and `to` bound the next part, or the event time: by key where the parts
/// before it are given, else by a scan. A JSON page with `next_page_token`, or all rows as NDJSON.
#[utoipa::path(get, path = "/v1/tables/{table}/rows", tag = "rows",
    params(("table", Path, description = "`dataset.name`"),
        ("from" = Option<String>, Query, description = "first value of the time column, or of the next key part"),
        ("to" = Option<String>, Query, description = "first value that is not wanted any more"),
        ("prefix" = Option<String>, Query, description = "how the next key part, a string, begins"),
        ("columns" = Option<String>, Query, description = "columns, families and undeclared attributes, separated by commas; default: all"),
        ("order" = Option<String>, Query, description = "`asc` or `desc` by the first key part that is not given; default: the key's own order"),
        ("limit" = Option<usize>, Query, description = "rows of a page (default 1000), or of the stream (default: all)"),
        ("page_token" = Option<String>, Query, description = "`next_page_token` of the page before; it is read at the same version"),
        ("cells" = Option<bool>, Query, description = "list all cells with family, qualifier and timestamp"),
        ("cells_from" = Option<String>, Query, description = "cell timestamps from here on"),
        ("cells_to" = Option<String>, Query, description = "cell timestamps before this")),
    responses((status = 200, description = "`{rows, next_page_token}`, or one row a line", body = serde_json::Value, content_type = "application/json"),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 410, body = Problem, description = "the page's version is gone")))]
pub async fn range(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params, headers: HeaderMap) -> Result<Response, Refused> {
    let rows = JsonRows::new(app.cluster.table(&name)?);
    let query = RowQuery::parse(&rows, &params.0)?;
    let reading = Reading::begin(app, rows, query, &params.0).await?;
    match accepted(&headers, &[JSON, NDJSON])? {
        NDJSON => streamed(NDJSON, reading.lines()).await,
        _ => reading.page(&params.0).await,
    }
}

/// A read at its version.
struct Reading {
    app: Arc<App>,
    rows: JsonRows,
    query: RowQuery,
    version: VersionMap,
}

impl Reading {
    async fn begin(app: Arc<App>, rows: JsonRows, mut query: RowQuery, params: &[(String, String)]) -> Result<Self> {
        let version = match &query.page_token {
            None => app.cluster.snapshot_in(rows.table(), &query.spec.ranges).await?,
            Some(text) => {
                let token = PageToken::decode(text, rows.table().id, params)?;
                query.spec.ranges = behind(&query.spec, &token.after);
                token.version
            }
        };
        Ok(Self { app, rows, query, version })
    }

    /// The rows that pass; at most `limit` are read where none can be left out.
    fn read(&self, limit: Option<usize>) -> BoxStream<'static, Result<Vec<Row>>> {
        let pushed = limit.filter(|_| !self.query.filters()).map_or(0, |n| n as u64);
        let spec = ReadSpec { row_limit: pushed, ..self.query.spec.clone() };
        self.app.cluster.read(self.rows.table(), spec, Some(self.version.clone()))
    }

    async fn page(self, params: &[(String, String)]) -> Result<Response, Refused> {
        let limit = self.query.limit.unwrap_or(PAGE_ROWS).min(MOST_PAGE_ROWS);
        // One more tells whether there is a next page.
        let mut stream = self.read(Some(limit + 1));
        let (mut out, mut count, mut last, mut more) = (String::from("{\"rows\":["), 0, None, false);
        'rows: while let Some(rows) = stream.try_next().await? {
            for row in rows {
                if !self.query.passes(self.rows.table(), &row)? {
                    continue;
                }
                if count == limit || out.len() > MOST_PAGE_BYTES {
                    more = true;
                    break 'rows;
                }
                if count > 0 {
                    out.push(',');
                }
                self.rows.write(&row, self.query.shape, &mut out)?;
                (count, last) = (count + 1, Some(row.key));
            }
        }
        out.push_str("],\"next_page_token\":");
        match last.filter(|_| more) {
            Some(key) => {
                let token = PageToken::new(self.rows.table().id, params, self.version, key).encode()?;
                out.push_str(&format!("\"{token}\"}}"));
            }
            None => out.push_str("null}"),
        }
        Ok(([(CONTENT_TYPE, JSON)], out).into_response())
    }

    fn lines(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let mut left = self.query.limit.unwrap_or(usize::MAX);
        let stream = self.read(self.query.limit);
        let text = move |rows: Vec<Row>| {
            let mut out = String::new();
            for row in rows {
                if left > 0 && self.query.passes(self.rows.table(), &row)? {
                    self.rows.write(&row, self.query.shape, &mut out)?;
                    out.push('\n');
                    left -= 1;
                }
            }
            Ok((Bytes::from(out), left > 0))
        };
        until_done(stream, text)
    }
}

/// Maps a stream, and ends it after the piece that says so.
fn until_done(
    rows: BoxStream<'static, Result<Vec<Row>>>,
    mut text: impl FnMut(Vec<Row>) -> Result<(Bytes, bool)> + Send + 'static,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let mut done = false;
    let pieces = rows.map(move |rows| rows.and_then(&mut text));
    pieces
        .take_while(move |piece| {
            let go_on = !done;
            done = !matches!(piece, Ok((_, true)));
            std::future::ready(go_on)
        })
        .map_ok(|(bytes, _)| bytes)
}

/// What of a read's ranges comes after a key, in its order.
fn behind(spec: &ReadSpec, key: &Bytes) -> Vec<KeyRange> {
    let rest = if spec.reverse {
        KeyRange::new(Bytes::new(), Some(key.clone()))
    } else {
        KeyRange { start: KeyRange::single(key).end.unwrap_or_default(), end: None }
    };
    spec.ranges.iter().filter_map(|r| r.intersect(&rest)).collect()
}
