//! A derived table's writes: staged by runs, applied at the versions that the publishing command gave.

use super::inner::Inner;
use super::queue::{Effect, Queue};
use super::staging;
use super::validate::check_row;
use crate::format::{LogBody, Rows, StoredRow};
use crate::log::{Durable, EncodedRecords};
use crate::sync::lock;
use common::ids::{RunId, Seq};
use common::row::RowMutation;
use common::{Error, Result};
use std::sync::Arc;

/// Runs published together, and their version.
type Version = (Vec<RunId>, Seq);

impl Inner {
    pub(super) async fn stage(self: &Arc<Self>, run: RunId, part: u32, rows: Vec<RowMutation>) -> Result<()> {
        self.check_open()?;
        self.check_kind(true)?;
        let table = self.table();
        for row in &rows {
            check_row(row, &self.range, &table).map_err(|e| e.context(format!("run {run}, part {part}")))?;
        }
        let estimate = rows.iter().map(RowMutation::weight).sum();
        self.shared.staged.admit(estimate, self.shared.config.write_patience).await?;
        let submitted = self.submit_stage(run, part, rows);
        // The budget now counts what is really kept.
        self.shared.staged.release(estimate);
        match submitted? {
            Some((ticket, durable)) => self.settled(ticket, durable).await,
            None => Ok(()),
        }
    }

    fn submit_stage(&self, run: RunId, part: u32, rows: Vec<RowMutation>) -> Result<Option<(u64, Durable)>> {
        let mut numbering = lock(&self.numbering);
        self.check_open()?;
        numbering.check()?;
        let known = |queue: &Queue| queue.staged.is_applied(run) || queue.staged.has_part(run, part) || queue.is_applying(run);
        if known(&lock(&self.queue)) {
            return Ok(None);
        }
        let timestamp = self.timestamp(&mut numbering);
        let rows: Vec<_> = rows.into_iter().map(|r| StoredRow::reduce(r, timestamp)).collect();
        let weight = staging::weight(&rows);
        let body = LogBody::Stage { run, part, timestamp, rows: Rows::of(&rows, timestamp) };
        let encoded = EncodedRecords::one(&self.record(Seq::ZERO, Seq::ZERO, body))?;
        self.shared.staged.take(weight);
        Ok(Some(self.submit(&mut numbering, encoded, Effect::Stage { run, part, rows }, weight)))
    }

    pub(super) async fn apply(self: &Arc<Self>, runs: &[(RunId, Seq)]) -> Result<()> {
        self.check_open()?;
        self.check_kind(true)?;
        let Some(highest) = runs.iter().map(|(_, version)| *version).max() else { return Ok(()) };
        match self.submit_apply(runs)? {
            Some((ticket, durable)) => self.settled(ticket, durable).await,
            None => self.wait_visible(highest).await,
        }
    }

    fn submit_apply(&self, runs: &[(RunId, Seq)]) -> Result<Option<(u64, Durable)>> {
        let mut numbering = lock(&self.numbering);
        self.check_open()?;
        numbering.check()?;
        let versions = due(&lock(&self.queue), Seq(numbering.next.0 - 1), runs)?;
        let Some((_, last)) = versions.last() else { return Ok(None) };
        numbering.next = last.next();
        let mut encoded = EncodedRecords::default();
        for (runs, version) in &versions {
            encoded.push(&self.record(*version, *version, LogBody::Apply { runs: runs.clone() }))?;
        }
        Ok(Some(self.submit(&mut numbering, encoded, Effect::Apply { versions }, 0)))
    }

    pub(super) async fn drop_staged(self: &Arc<Self>, run: RunId) -> Result<()> {
        self.check_open()?;
        self.check_kind(true)?;
        let submitted = {
            let mut numbering = lock(&self.numbering);
            self.check_open()?;
            numbering.check()?;
            let queue = lock(&self.queue);
            if queue.is_empty() && !queue.staged.has_run(run) {
                return Ok(());
            }
            drop(queue);
            let record = self.record(Seq::ZERO, Seq::ZERO, LogBody::DropStaged { run });
            self.submit(&mut numbering, EncodedRecords::one(&record)?, Effect::Drop { run }, 0)
        };
        self.settled(submitted.0, submitted.1).await
    }

    /// [`Self::settle`] in a task of its own: the caller may go away.
    async fn settled(self: &Arc<Self>, ticket: u64, durable: Durable) -> Result<()> {
        let this = self.clone();
        let settled = tokio::spawn(async move { this.settle(ticket, durable).await });
        settled.await.map_err(|e| Error::internal(format!("a write ended early: {e}")))?
    }

    pub(super) async fn wait_visible(&self, version: Seq) -> Result<()> {
        let mut visible = self.visible.subscribe();
        loop {
            if *visible.borrow_and_update() >= version {
                return Ok(());
            }
            self.check_serving()?;
            lock(&self.numbering).check()?;
            if visible.changed().await.is_err() {
                return Err(Error::not_mine(format!("tablet {} has ended here", self.id)));
            }
        }
    }
}

/// The versions among `runs` that are not numbered yet, `numbered` being the highest that is.
fn due(queue: &Queue, mut numbered: Seq, runs: &[(RunId, Seq)]) -> Result<Vec<Version>> {
    let mut due: Vec<Version> = Vec::new();
    for (run, version) in runs {
        match due.last_mut() {
            Some((together, last)) if last == version => {
                // Named twice it is still one run.
                together.retain(|r| r != run);
                together.push(*run);
            }
            _ if *version > numbered => {
                numbered = *version;
                due.push((vec![*run], *version));
            }
            // Applied before, or never staged here: nothing to do. Staged and passed by: its rows would be lost.
            _ if queue.staged.has_run(*run) && !queue.is_applying(*run) => {
                return Err(Error::refused(format!(
                    "run {run} is published at version {version}, but version {numbered} is applied: versions are applied in order"
                )));
            }
            _ => {}
        }
    }
    Ok(due)
}
