//! The commit path: validate → number → append → durable → memtable → visible → acknowledge.

use super::RequestId;
use super::inner::{Inner, Status};
use super::numbering::Numbering;
use super::queue::{Effect, Pending};
use super::requests::{Answer, Outcome, Results, answered, results};
use super::staging;
use super::validate::check_row;
use crate::format::{LogBody, Remembered, StoredRow};
use crate::log::{Durable, EncodedRecords};
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
    rows: Vec<RowMutation>,
    /// Rows that were refused, by position among all.
    refused: Vec<(u32, AsJson<Error>)>,
    weight: usize,
}

/// A numbered batch that the log has.
struct Numbered {
    ticket: u64,
    durable: Durable,
    answer: Option<watch::Sender<Outcome>>,
    remembered: Remembered,
    weight: usize,
}

enum Step {
    New(Numbered),
    Repeated(Answer),
}

impl Inner {
    pub(super) async fn write(self: &Arc<Self>, rows: Vec<RowMutation>, request: Option<RequestId>) -> Result<Results> {
        self.check_open()?;
        self.check_kind(false)?;
        if let Some(answer) = request.and_then(|id| lock(&self.numbering).requests.find(&id)) {
            return answered(answer).await;
        }
        let batch = self.validate(rows)?;
        if batch.rows.is_empty() {
            return Ok(batch.refused.into_iter().map(|(_, AsJson(e))| Err(e)).collect());
        }
        let weight = batch.weight;
        self.admit(weight).await?;
        let numbered = match self.number(batch, request) {
            Ok(Step::New(numbered)) => numbered,
            Ok(Step::Repeated(answer)) => {
                self.shared.memory.release(weight);
                return answered(answer).await;
            }
            Err(e) => {
                self.shared.memory.release(weight);
                return Err(e);
            }
        };
        // A task of its own: a caller that goes away must not leave a durable write without effect.
        let this = self.clone();
        let acknowledged = tokio::spawn(async move { this.acknowledge(numbered).await });
        acknowledged.await.map_err(|e| Error::internal(format!("a write ended early: {e}")))?
    }

    fn validate(&self, rows: Vec<RowMutation>) -> Result<Batch> {
        let mutations: usize = rows.iter().map(|r| r.mutations.len()).sum();
        if mutations > limits::MAX_MUTATIONS_PER_REQUEST {
            let most = limits::MAX_MUTATIONS_PER_REQUEST;
            return Err(Error::invalid(format!("a request with {mutations} changes; at most {most} are allowed")));
        }
        let table = self.table();
        let mut batch = Batch { rows: Vec::with_capacity(rows.len()), refused: Vec::new(), weight: 0 };
        for (i, row) in rows.into_iter().enumerate() {
            match check_row(&row, &self.range, &table) {
                Ok(()) => {
                    batch.weight += row.weight();
                    batch.rows.push(row);
                }
                Err(e) => batch.refused.push((i as u32, AsJson(e))),
            }
        }
        Ok(batch)
    }

    async fn admit(&self, weight: usize) -> Result<()> {
        let memory = &self.shared.memory;
        if memory.used() >= memory.limit() / 2 {
            self.shared.wake.notify_one();
        }
        memory.admit(weight, self.shared.config.write_patience).await.inspect_err(|_| self.shared.metrics.writes_refused.add(1))
    }

    fn number(&self, batch: Batch, request: Option<RequestId>) -> Result<Step> {
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
        let rows: Vec<_> = batch.rows.into_iter().map(|r| StoredRow::reduce(r, timestamp)).collect();
        let total = (count + batch.refused.len() as u64) as u32;
        let remembered = Remembered { request: request.unwrap_or_default(), first, rows: total, timestamp, refused: batch.refused.clone() };
        let body = LogBody::Write { request, timestamp, refused: batch.refused, rows };
        let record = self.record(first, Seq(first.0 + count - 1), body);
        let encoded = EncodedRecords::one(&record)?;
        let LogBody::Write { rows, .. } = record.body else { return Err(Error::internal("a write is no write")) };
        numbering.next = Seq(first.0 + count);
        let rows = (first.0..).map(Seq).zip(rows).collect();
        let (ticket, durable) = self.submit(&mut numbering, encoded, Effect::Write { rows }, batch.weight);
        let answer = request.map(|id| numbering.requests.begin(id, clock.monotonic()));
        Ok(Step::New(Numbered { ticket, durable, answer, remembered, weight: batch.weight }))
    }

    /// Hands records to the log. Under the numbering lock, so that the log's order is the queue's.
    pub(super) fn submit(&self, _: &mut Numbering, records: EncodedRecords, effect: Effect, reserved: usize) -> (u64, Durable) {
        let log_from = self.shared.log.newest();
        let ticket = lock(&self.queue).push(log_from, effect, reserved);
        (ticket, self.shared.log.append(records))
    }

    async fn acknowledge(&self, numbered: Numbered) -> Result<Results> {
        let settled = self.settle(numbered.ticket, numbered.durable).await;
        let remembered = Arc::new(numbered.remembered);
        if settled.is_ok() {
            let accepted = remembered.rows as usize - remembered.refused.len();
            self.shared.metrics.rows_written.add(accepted as u64);
            self.shared.metrics.bytes_written.add(numbered.weight as u64);
        }
        if let Some(answer) = numbered.answer {
            let _ = answer.send(Some(settled.clone().map(|()| remembered.clone())));
        }
        settled.map(|()| results(&remembered))
    }

    /// Waits until an append is durable, then lets it and everything before it take effect.
    pub(super) async fn settle(&self, ticket: u64, durable: Durable) -> Result<()> {
        let settled = self.settle_queue(ticket, durable).await;
        // Not every effect moves `visible`, but whoever drains waits for all of them.
        self.visible.send_modify(|_| {});
        settled
    }

    async fn settle_queue(&self, ticket: u64, durable: Durable) -> Result<()> {
        let durable = durable.await.unwrap_or_else(|_| Err(Error::unavailable("the log has ended: the outcome of the write is unknown")));
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
            Effect::Write { rows } => {
                let last = rows.last().map_or(Seq::ZERO, |(seq, _)| *seq);
                self.insert(rows, log_from);
                self.shared.memory.release(reserved);
                self.visible.send_replace(last);
            }
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
                    self.insert(taken.rows.into_iter().map(|row| (version, row)).collect(), taken.log_from.min(log_from));
                    queue.staged.remember(&runs, version);
                    self.visible.send_replace(version);
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
    fn insert(&self, rows: Vec<(Seq, StoredRow)>, log_from: u64) {
        if rows.is_empty() {
            return;
        }
        self.shared.memory.take(rows.iter().map(|(_, row)| row.weight()).sum());
        self.state().active.insert(rows, log_from);
    }

    fn give_back(&self, pending: &Pending) {
        match &pending.effect {
            Effect::Write { .. } => self.shared.memory.release(pending.reserved),
            Effect::Stage { rows, .. } => self.shared.staged.release(staging::weight(rows)),
            Effect::Apply { .. } | Effect::Drop { .. } => {}
        }
    }

    /// The log has failed: this append's outcome is unknown, and nothing may be numbered after it.
    fn break_log(&self, ticket: u64, e: &Error) {
        lock(&self.numbering).broken.get_or_insert_with(|| e.clone());
        let mut queue = lock(&self.queue);
        while let Some(pending) = queue.pop_up_to(ticket) {
            self.give_back(&pending);
        }
        self.visible.send_modify(|_| {});
    }

    /// The timestamp given to what begins now.
    pub(super) fn timestamp(&self, numbering: &mut Numbering) -> Micros {
        numbering.timestamp(self.shared.config.clock.now())
    }
}
