use super::App;
use super::extract::Params;
use super::lines::{Line, Lines};
use super::problem::{Problem, Refused, no_content};
use crate::rows::json::JsonRows;
use crate::writes::Admission;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::row::{Committed, RowMutation};
use common::rpc::master::{Command, INGEST_TTL};
use common::time::Micros;
use common::{Error, ErrorKind, Result, limits};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;
use utoipa::ToSchema;

/// Rows and bytes of a batch: large enough that a commit is shared by many, small enough that several fit in memory.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 2 << 20;
/// Batches of one request under way at a time.
const IN_FLIGHT: usize = 4;
/// Of the body of a request that is refused before it was read, so much is read, for so long, that its connection stays of use.
const PASSED_OVER_BYTES: u64 = 8 << 20;
const PASSED_OVER_FOR: Duration = Duration::from_secs(1);
/// A body that gives nothing for so long pauses.
const PAUSE: Duration = Duration::from_millis(5);
/// Failed lines that are told one by one.
const SHOWN_ERRORS: usize = 100;

/// What became of an ingest.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Ingested {
    /// Rows stored, durably.
    rows: u64,
    /// Lines that were not stored.
    failed: u64,
    /// The first 100 of them.
    errors: Vec<LineError>,
    /// Bytes of the body.
    bytes: u64,
}

/// Why a line was not stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineError {
    /// Counted from 1.
    line: u64,
    /// What is wrong, where, and what to write.
    error: String,
}

/// Write rows, one JSON object a line.
///
/// The body is taken as a stream, as fast as rows are stored. A wrong line is named; all others are stored. Status 200
/// if all rows were stored, 207 if some lines are wrong. If the cluster cannot take rows, the answer is a problem (429
/// or 503): rows before it may be stored; sending all of them again does no harm. `ingest` names a bulk ingest, which
/// is open until 10 s after the request, or until it is deleted: windowed readers wait for it.
#[utoipa::path(post, path = "/v1/tables/{table}/ingest", tag = "rows",
    params(("table", Path, description = "`dataset.name`"), ("ingest" = Option<String>, Query, description = "name of a bulk ingest to keep open"),
        ("complete_until" = Option<String>, Query, description = "if all rows are stored, set the table's watermark to this time")),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, body = Ingested), (status = 207, body = Ingested, description = "some lines are wrong"),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem)))]
pub async fn ingest(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params, body: Body) -> Result<Response, Refused> {
    params.only(&["ingest", "complete_until"])?;
    let rows = JsonRows::new(app.cluster.writable(&name)?);
    let until = params.get("complete_until").map(Micros::parse).transpose().map_err(|e| Error::invalid(format!("complete_until: {e}")))?;
    let held = match params.get("ingest") {
        Some(id) => Some(hold(app.clone(), name.clone(), id.to_owned()).await?),
        None => None,
    };
    let done = Ingest::new(&app, &rows).run(body).await?;
    drop(held);
    if let Some(at) = until.filter(|_| done.failed == 0) {
        app.cluster.submit(Command::SetWatermark { name, at }).await?;
    }
    let status = if done.failed == 0 { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok((status, axum::Json(done)).into_response())
}

/// Open a bulk ingest, or keep it open for 10 s more.
///
/// While one is open, windowed readers of the table wait.
#[utoipa::path(put, path = "/v1/tables/{table}/ingests/{ingest}", tag = "rows",
    params(("table", Path, description = "`dataset.name`"), ("ingest", Path, description = "a name of the caller's choice")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn open(State(app): State<Arc<App>>, Path((name, ingest)): Path<(String, String)>) -> Result<Response, Refused> {
    app.cluster.writable(&name)?;
    app.cluster.submit(Command::OpenIngest { name, ingest }).await?;
    Ok(no_content())
}

/// Close a bulk ingest.
#[utoipa::path(delete, path = "/v1/tables/{table}/ingests/{ingest}", tag = "rows",
    params(("table", Path, description = "`dataset.name`"), ("ingest", Path, description = "its name")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn close(State(app): State<Arc<App>>, Path((name, ingest)): Path<(String, String)>) -> Result<Response, Refused> {
    app.cluster.writable(&name)?;
    app.cluster.submit(Command::CloseIngest { ingest }).await?;
    Ok(no_content())
}

/// Keeps a bulk ingest open until the handle is dropped, and a little longer.
async fn hold(app: Arc<App>, name: String, ingest: String) -> Result<AbortOnDropHandle<()>> {
    let command = Command::OpenIngest { name, ingest };
    app.cluster.submit(command.clone()).await?;
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(INGEST_TTL / 4).await;
            if let Err(e) = app.cluster.submit(command.clone()).await {
                tracing::debug!(error = %e, "a bulk ingest could not be kept open");
            }
        }
    })))
}

/// Rows that travel together, each with its line.
#[derive(Default)]
struct Batch {
    lines: Vec<u64>,
    rows: Vec<RowMutation>,
    weight: usize,
}

struct Written {
    lines: Vec<u64>,
    keys: Vec<Bytes>,
    results: Result<Vec<Result<Committed>>>,
}

/// One ingest under way.
struct Ingest<'a> {
    app: &'a App,
    rows: &'a JsonRows,
    batch: Batch,
    writing: FuturesUnordered<BoxFuture<'a, Written>>,
    /// Row keys in `writing`: of two rows with one key the later must win, so it waits.
    keys: HashSet<Bytes>,
    done: Ingested,
}

impl<'a> Ingest<'a> {
    fn new(app: &'a App, rows: &'a JsonRows) -> Self {
        Self { app, rows, batch: Batch::default(), writing: FuturesUnordered::new(), keys: HashSet::new(), done: Ingested::default() }
    }

    async fn run(mut self, body: Body) -> Result<Ingested> {
        let mut lines = Lines::new(body.into_data_stream(), limits::MAX_INGEST_LINE_BYTES);
        let (mut number, mut turn) = match self.app.admission.turn().await {
            Ok(turn) => (0, Some(turn)),
            Err(refused) => {
                lines.pass_over(PASSED_OVER_BYTES, PASSED_OVER_FOR).await;
                return Err(refused);
            }
        };
        while let Some(line) = next_line(&self.app.admission, &mut lines, &mut turn).await? {
            number += 1;
            match self.parse(&line) {
                Ok(None) => {}
                Ok(Some(row)) => {
                    self.add(number, row);
                    if self.is_full() {
                        // Others take their turns while this one waits for what it has sent.
                        drop(turn.take());
                        self.send().await?;
                        turn = self.app.admission.turn_again().await;
                    }
                }
                Err(e) => self.fail(number, e.message),
            }
        }
        drop(turn);
        self.send().await?;
        while let Some(written) = self.writing.next().await {
            self.settle(written)?;
        }
        self.done.bytes = lines.bytes;
        self.done.errors.sort_by_key(|e| e.line);
        Ok(self.done)
    }

    /// A line's row; blank lines are none.
    fn parse(&self, line: &Line) -> Result<Option<RowMutation>> {
        let most = limits::MAX_INGEST_LINE_BYTES;
        let Line::Text(text) = line else { return Err(Error::invalid(format!("the line is longer than {most} bytes"))) };
        let text = std::str::from_utf8(text).map_err(|e| Error::invalid(format!("not UTF-8 after {} bytes", e.valid_up_to())))?;
        if text.trim().is_empty() { Ok(None) } else { self.rows.read(text).map(Some) }
    }

    fn fail(&mut self, line: u64, error: String) {
        self.done.failed += 1;
        if self.done.errors.len() < SHOWN_ERRORS {
            self.done.errors.push(LineError { line, error });
        }
    }

    fn add(&mut self, line: u64, row: RowMutation) {
        self.batch.weight += row.weight();
        self.batch.lines.push(line);
        self.batch.rows.push(row);
    }

    fn is_full(&self) -> bool {
        self.batch.rows.len() >= BATCH_ROWS || self.batch.weight >= BATCH_BYTES
    }

    /// Sends the batch; waits first while too many are under way, or one of them has a row of this one.
    async fn send(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.rows.is_empty() {
            return Ok(());
        }
        while self.writing.len() >= IN_FLIGHT || (!self.writing.is_empty() && batch.rows.iter().any(|r| self.keys.contains(&r.key))) {
            let Some(written) = self.writing.next().await else { break };
            self.settle(written)?;
        }
        let keys: Vec<_> = batch.rows.iter().map(|r| r.key.clone()).collect();
        self.keys.extend(keys.iter().cloned());
        let (cluster, table) = (&self.app.cluster, self.rows.table());
        let held = self.admit(batch.weight).await?;
        self.writing.push(Box::pin(async move {
            let results = cluster.write(table, batch.rows).await;
            drop(held);
            Written { lines: batch.lines, keys, results }
        }));
        Ok(())
    }

    /// The right to hold rows of `bytes`; what is under way goes on meanwhile.
    async fn admit(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let app = self.app;
        let mut admitted = pin!(app.admission.admit(bytes));
        loop {
            tokio::select! {
                held = &mut admitted => return held,
                Some(written) = self.writing.next() => self.settle(written)?,
            }
        }
    }

    /// Counts what was written. A refusal that is not the row's fault ends the ingest.
    fn settle(&mut self, written: Written) -> Result<()> {
        for key in &written.keys {
            self.keys.remove(key);
        }
        for (line, result) in written.lines.into_iter().zip(written.results?) {
            match result {
                Ok(_) => self.done.rows += 1,
                Err(e) if is_the_rows_fault(e.kind) => self.fail(line, e.message),
                Err(e) => return Err(e.context(format!("{} rows are stored, line {line} may not be", self.done.rows))),
            }
        }
        Ok(())
    }
}

/// The next line. A body that pauses gives its turn up: it may be a bulk load that lasts for hours.
async fn next_line(admission: &Admission, lines: &mut Lines, turn: &mut Option<OwnedSemaphorePermit>) -> Result<Option<Line>> {
    if let Ok(line) = tokio::time::timeout(PAUSE, lines.next()).await {
        return line;
    }
    *turn = None;
    let line = lines.next().await;
    *turn = admission.turn_again().await;
    line
}

fn is_the_rows_fault(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidArgument | ErrorKind::FailedPrecondition | ErrorKind::AlreadyExists)
}
