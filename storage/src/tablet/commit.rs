//! The commit path: validate → number → append → durable → memtable → visible → acknowledge.

use super::RequestId;
use super::inner::{Inner, Status};
use super::memory::Reserved;
use super::numbering::Numbering;
use super::queue::{Effect, Pending};
use super::requests::{Answer, Results, Told, answered, results};
use super::staging;
use super::validate::check_row;
use crate::format::{Draft, LogBody, Outcome, Remembered};
use crate::log::{Durable, EncodedRecords};
use crate::memtable;
use crate::sync::{lock, read};
use common::envelope::AsJson;
use common::ids::Seq;
use common::row::RowMutation;
use common::time::Micros;
use common::{Error, Result, limits};
use std::sync::Arc;
use tokio::sync::watch;

/// A request after validation.
struct Batch {
    rows: Draft,
    /// Rows that were refused, by position among all.
    refused: Vec<(u32, AsJson<Error>)>,
    /// Bytes of the accepted mutations.
    bytes: usize,
}

/// A numbered batch that the log has.
pub(super) struct Numbered {
    pub(super) ticket: u64,
    pub(super) durable: Durable,
    pub(super) answer: Option<watch::Sender<Told>>,
    pub(super) remembered: Remembered,
    /// Bytes of its mutations.
    pub(super) bytes: usize,
}

/// What numbering came to.
pub(super) enum Step {
    New(Numbered),
    Repeated(Answer),
}

/// Waits until a batch is durable, then lets it take effect. A caller that goes away must not leave a durable write
/// without effect: what is left is then done by a task.
pub(super) struct Acknowledge {
    inner: Arc<Inner>,
    numbered: Option<Numbered>,
}

impl Acknowledge {
    pub(super) fn new(inner: &Arc<Inner>, numbered: Numbered) -> Self {
        Self { inner: inner.clone(), numbered: Some(numbered) }
    }

    pub(super) async fn done(mut self) -> Result<Arc<Remembered>> {
        let durable = match &mut self.numbered {
            Some(numbered) => outcome((&mut numbered.durable).await),
            None => Ok(()),
        };
        match self.numbered.take() {
            Some(numbered) => self.inner.acknowledge(numbered, durable),
            None => Err(Error::internal("a write was acknowledged twice")),
        }
    }
}

impl Drop for Acknowledge {
    fn drop(&mut self) {
        let (Some(mut numbered), Ok(runtime)) = (self.numbered.take(), tokio::runtime::Handle::try_current()) else { return };
        let inner = self.inner.clone();
        // Not another one of these: a runtime that ends drops its tasks, and new ones at once.
        runtime.spawn(async move {
            let durable = outcome((&mut numbered.durable).await);
            inner.acknowledge(numbered, durable)
        });
    }
}

fn outcome<T, E>(durable: std::result::Result<Result<T>, E>) -> Result<()> {
    match durable {
        Ok(done) => done.map(|_| ()),
        Err(_) => Err(Error::unavailable("the log has ended: the outcome of the write is unknown")),
    }
}

impl Inner {
    pub(super) async fn write(self: &Arc<Self>, rows: Vec<RowMutation>, request: Option<RequestId>) -> Result<Results> {
        self.check_open()?;
        self.check_kind(false)?;
        if let Some(answer) = request.and_then(|id| lock(&self.numbering).requests.find(&id)) {
            return results(&*answered(answer).await?);
        }
        let batch = self.validate(rows)?;
        if batch.rows.is_empty() {
            return Ok(batch.refused.into_iter().map(|(_, AsJson(e))| Err(e)).collect());
        }
        let weight = batch.rows.weight();
        self.admit(weight).await?;
        let reserved = Reserved::new(&self.shared.memory, weight);
        match self.number(batch, request, weight)? {
            Step::New(numbered) => {
                reserved.keep();
                results(&*Acknowledge::new(self, numbered).done().await?)
            }
            Step::Repeated(answer) => {
                drop(reserved);
                results(&*answered(answer).await?)
            }
        }
    }

    fn validate(&self, rows: Vec<RowMutation>) -> Result<Batch> {
        let mutations: usize = rows.iter().map(|r| r.mutations.len()).sum();
        if mutations > limits::MAX_MUTATIONS_PER_REQUEST {
            let most = limits::MAX_MUTATIONS_PER_REQUEST;
            return Err(Error::invalid(format!("a request with {mutations} changes; at most {most} are allowed")));
        }
        let table = self.table();
        let mut batch = Batch { rows: Draft::for_rows(&rows, &self.shapes), refused: Vec::new(), bytes: 0 };
        for (i, row) in rows.into_iter().enumerate() {
            match check_row(&row, &self.range, &table) {
                Ok(()) => {
                    batch.bytes += row.weight();
                    batch.rows.push(row);
                }
                Err(e) => batch.refused.push((i as u32, AsJson(e))),
            }
        }
        Ok(batch)
    }

    pub(super) async fn admit(&self, weight: usize) -> Result<()> {
        self.shared.log.ready().inspect_err(|_| self.shared.metrics.writes_refused.add(1))?;
        let memory = &self.shared.memory;
        if memory.used() >= memory.limit() / 2 {
            self.shared.wake.notify_one();
        }
        self.admit_backlog().await?;
        if let Some(pause) = memory.pace() {
            self.shared.metrics.writes_delayed.add(1);
            tokio::time::sleep(pause).await;
        }
        memory.admit(weight, self.shared.config.write_patience).await.inspect_err(|_| self.shared.metrics.writes_refused.add(1))
    }

    fn number(&self, batch: Batch, request: Option<RequestId>, weight: usize) -> Result<Step> {
        let clock = &self.shared.config.clock;
        let mut numbering = lock(&self.numbering);
        self.check_open()?;
        numbering.check()?;
        if let Some(answer) = request.and_then(|id| numbering.requests.find(&id)) {
            return Ok(Step::Repeated(answer));
        }
        let timestamp = numbering.timestamp(clock.now());
        let first = numbering.next;
        let count = batch.rows.len() as u64;
        let rows = batch.rows.finish(timestamp);
        rows.hand_on(&self.shapes);
        let total = (count + batch.refused.len() as u64) as u32;
        let (refused, outcome) = (batch.refused.clone(), Outcome::Written);
        let remembered = Remembered { request: request.unwrap_or_default(), first, rows: total, timestamp, refused, outcome };
        let body = LogBody::Write { request, timestamp, refused: batch.refused, rows };
        let record = self.record(first, Seq(first.0 + count - 1), body);
        let encoded = EncodedRecords::one(&record)?;
        let LogBody::Write { rows, .. } = record.body else { return Err(Error::internal("a write is no write")) };
        numbering.next = Seq(first.0 + count);
        let effect = Effect::Write(memtable::Batch::rising(first, timestamp, rows));
        let (ticket, durable) = self.submit(&mut numbering, encoded, effect, weight);
        let answer = request.map(|id| numbering.requests.begin(id, clock.monotonic()));
        Ok(Step::New(Numbered { ticket, durable, answer, remembered, bytes: batch.bytes }))
    }

    /// Hands records to the log. Under the numbering lock, so that the log's order is the queue's.
    pub(super) fn submit(&self, _: &mut Numbering, records: EncodedRecords, effect: Effect, reserved: usize) -> (u64, Durable) {
        let log_from = self.shared.log.newest();
        let ticket = lock(&self.queue).push(log_from, effect, reserved);
        (ticket, self.shared.log.append(records))
    }

    fn acknowledge(&self, numbered: Numbered, durable: Result<()>) -> Result<Arc<Remembered>> {
        let settled = self.settled_as(numbered.ticket, durable);
        let remembered = Arc::new(numbered.remembered);
        if settled.is_ok() {
            let accepted = remembered.rows as usize - remembered.refused.len();
            self.shared.metrics.rows_written.add(accepted as u64);
            self.shared.metrics.bytes_written.add(numbered.bytes as u64);
        }
        if let Some(answer) = numbered.answer {
            let _ = answer.send(Some(settled.clone().map(|()| remembered.clone())));
        }
        settled.map(|()| remembered)
    }

    /// Waits until an append is durable, then lets it and everything before it take effect.
    pub(super) async fn settle(&self, ticket: u64, durable: Durable) -> Result<()> {
        self.settled_as(ticket, outcome(durable.await))
    }

    /// Lets an append that has become durable, and everything before it, take effect.
    fn settled_as(&self, ticket: u64, durable: Result<()>) -> Result<()> {
        let settled = self.settle_queue(ticket, durable);
        // Not every effect moves `visible`, but whoever drains waits for all of them.
        self.visible.wake();
        settled
    }

    fn settle_queue(&self, ticket: u64, durable: Result<()>) -> Result<()> {
        if let Err(e) = durable {
            self.break_log(ticket, &e);
            return Err(e);
        }
        let mut queue = lock(&self.queue);
        // A fence may have come while the log was written. What is durable then belongs to the next owner to judge.
        if let Status::Ended(e) = &*read(&self.status) {
            while let Some(pending) = queue.pop_up_to(ticket) {
                self.give_back(&pending);
            }
            return Err(e.clone());
        }
        while let Some(pending) = queue.pop_up_to(ticket) {
            self.take_effect(&mut queue, pending);
        }
        self.snapshots.note(self.shared.config.clock.monotonic(), self.visible());
        Ok(())
    }

    fn take_effect(&self, queue: &mut super::queue::Queue, pending: Pending) {
        let Pending { log_from, effect, reserved, .. } = pending;
        match effect {
            Effect::Write(batch) => {
                let (last, bytes) = (batch.last().unwrap_or_default(), batch.bytes);
                // What was reserved goes over to the memtable.
                self.shared.memory.take(bytes.saturating_sub(reserved));
                self.state().active.insert(batch, log_from);
                self.shared.memory.release(reserved.saturating_sub(bytes));
                self.visible.set(last);
            }
            Effect::DeleteRange(delete) => {
                // What was reserved is what the memtable counts.
                let seq = delete.seq;
                self.state().active.insert_range_delete(delete, log_from);
                self.visible.set(seq);
            }
            Effect::Ingest { seq, files } => self.show(seq, files, log_from),
            Effect::Note => self.shared.memory.release(reserved),
            Effect::Stage { run, part, rows } => {
                let replaced = queue.staged.add(run, part, rows, log_from);
                queue.staged_bytes = queue.staged_bytes + reserved - replaced;
                self.shared.staged.release(replaced);
            }
            Effect::Drop { run } => self.unstage(queue, &[run]),
            Effect::Apply { versions } => {
                for (runs, version) in versions {
                    let taken = queue.staged.take(&runs);
                    queue.staged_bytes -= taken.weight;
                    self.shared.staged.release(taken.weight);
                    self.insert(memtable::Batch::at(version, &taken.rows), taken.log_from.min(log_from));
                    queue.staged.remember(&runs, version);
                    self.visible.set(version);
                }
            }
        }
    }

    fn unstage(&self, queue: &mut super::queue::Queue, runs: &[common::ids::RunId]) {
        let taken = queue.staged.take(runs);
        queue.staged_bytes -= taken.weight;
        self.shared.staged.release(taken.weight);
    }

    /// Inserts into the active memtable. Under the queue's lock, so that it is not frozen meanwhile.
    fn insert(&self, batch: memtable::Batch, log_from: u64) {
        if !batch.entries.is_empty() {
            self.shared.memory.take(batch.bytes);
            self.state().active.insert(batch, log_from);
        }
    }

    fn give_back(&self, pending: &Pending) {
        match &pending.effect {
            Effect::Write(_) | Effect::DeleteRange(_) | Effect::Note => self.shared.memory.release(pending.reserved),
            Effect::Stage { rows, .. } => self.shared.staged.release(staging::weight(rows)),
            Effect::Ingest { .. } | Effect::Apply { .. } | Effect::Drop { .. } => {}
        }
    }

    /// The log has failed: this append's outcome is unknown, and nothing may be numbered after it.
    fn break_log(&self, ticket: u64, e: &Error) {
        lock(&self.numbering).broken.get_or_insert_with(|| e.clone());
        let mut queue = lock(&self.queue);
        while let Some(pending) = queue.pop_up_to(ticket) {
            self.give_back(&pending);
        }
        self.visible.wake();
    }

    /// The timestamp given to what begins now.
    pub(super) fn timestamp(&self, numbering: &mut Numbering) -> Micros {
        numbering.timestamp(self.shared.config.clock.now())
    }
}
