use super::batch::{Batch, Batches};
use super::hold::Hold;
use super::progress::{Progress, Unit};
use crate::client::{Client, NDJSON, retry_after};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use reqwest::Method;
use serde::Deserialize;
use std::time::{Duration, Instant};
use tokio_stream::wrappers::ReceiverStream;

/// Failed rows that are shown one by one; the rest is counted.
const SHOWN_ERRORS: u64 = 100;
/// A gateway that refuses a batch for so long is taken for gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to upload and how.
#[derive(Clone, Debug)]
pub struct Upload {
    /// dataset.name
    pub table: String,
    /// Requests at a time, at least 1.
    pub parallel: usize,
    /// For the progress bar.
    pub total: Option<u64>,
    /// Of `total` and of the source's position.
    pub unit: Unit,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Rows stored.
    pub stored: u64,
    /// Rows that failed.
    pub failed: u64,
    /// Bytes of rows sent.
    pub bytes: u64,
    /// Lines taken from the source.
    pub lines: u64,
    /// From the first byte to the last answer.
    pub took: Duration,
}

/// What the gateway says of one batch.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    rows: u64,
    failed: u64,
    #[serde(default)]
    errors: Vec<RowError>,
}

#[derive(Debug, Deserialize)]
struct RowError {
    line: u64,
    error: String,
}

/// Sends all batches with a bulk ingest open; errors go to stderr by file and line. `stored` is called after
/// each batch that is durable, in order, with the lines so far.
pub async fn upload(client: &Client, job: &Upload, batches: Batches, stored: impl Fn(u64) -> Result<()>) -> Result<Summary> {
    let hold = Hold::open(client, &job.table).await?;
    let progress = Progress::start(job.total, job.unit)?;
    let mut summary = Summary::default();
    let answers = ReceiverStream::new(batches.receiver).map(|batch| async {
        let batch = batch?;
        let answer = send(client, &job.table, &batch).await?;
        anyhow::Ok((batch, answer))
    });
    let mut answers = std::pin::pin!(answers.buffered(job.parallel));
    let outcome = loop {
        match answers.try_next().await {
            Ok(Some((batch, answer))) => {
                summary.add(&batch, &answer, &progress);
                progress.update(batch.position, summary.stored, summary.bytes);
                stored(summary.lines)?;
            }
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    summary.took = progress.finish();
    if summary.failed > SHOWN_ERRORS {
        eprintln!("… and {} more rows failed", summary.failed - SHOWN_ERRORS);
    }
    outcome.with_context(|| format!("the ingest into {} ended after {}", job.table, summary.sentence()))?;
    hold.close().await?;
    Ok(summary)
}

/// Sends one batch until it is taken or refused for good. Sending again is safe: the same rows are the same cells.
async fn send(client: &Client, table: &str, batch: &Batch) -> Result<Answer> {
    if batch.body.is_empty() {
        return Ok(Answer::default());
    }
    let began = Instant::now();
    loop {
        let request = client.request(Method::POST, &["tables", table, "ingest"]);
        let request = request.header(reqwest::header::CONTENT_TYPE, NDJSON).body(batch.body.clone());
        match client.json(request).await {
            Ok(answer) => return Ok(answer),
            Err(e) => match retry_after(&e) {
                Some(wait) if began.elapsed() < PATIENCE => tokio::time::sleep(wait).await,
                _ => return Err(e),
            },
        }
    }
}

impl Summary {
    fn add(&mut self, batch: &Batch, answer: &Answer, progress: &Progress) {
        let errors = answer.errors.iter().map(|e| format!("{}: {}", batch.origin(e.line), e.error));
        let bad = batch.bad.iter().map(|(name, line, why)| format!("{name}:{line}: {why}"));
        let room = SHOWN_ERRORS.saturating_sub(self.failed) as usize;
        errors.chain(bad).take(room).for_each(|line| progress.say(&line));
        self.stored += answer.rows;
        self.failed += answer.failed + batch.bad.len() as u64;
        self.bytes += batch.body.len() as u64;
        self.lines += batch.lines();
    }
}
