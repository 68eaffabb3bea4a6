//! The task that puts a log's objects. Nothing else creates them, except a fence.
//!
//! Puts fly several at once and may land in any order; a number is durable once all up to it have landed, and only then
//! are its appends answered. A lost put means that the log was fenced there: what lies below still lands and is
//! answered, everything from there on fails.

use super::format::{ObjectKind, encode_records};
use super::put::{Objects, Put};
use super::shared::Shared;
use crate::ObjectLogSettings;
use crate::log::batch::{Batch, Done, EncodedRecords};
use crate::log::index::Index;
use crate::metrics::Metrics;
use common::time::SharedClock;
use common::{Error, Result};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) enum Job {
    Append(EncodedRecords, Done),
    Close(Done),
}

/// An object on its way.
#[derive(Debug)]
struct Flying {
    batch: Batch,
    index: Arc<Index>,
    bytes: u64,
    since: Instant,
    landed: bool,
}

pub(super) struct Writer {
    objects: Objects,
    config: ObjectLogSettings,
    clock: SharedClock,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    /// What is gathered for the next object, and since when.
    batch: Batch,
    gathering: Instant,
    last_cut: Instant,
    next: u64,
    /// Objects that are not yet durable, by number.
    flying: BTreeMap<u64, Flying>,
    puts: FuturesUnordered<BoxFuture<'static, (u64, Result<Put>)>>,
    /// From this number on everything fails so.
    ended: Option<(u64, Error)>,
    closing: Option<Done>,
}

impl Writer {
    /// A writer of a log whose object 1 exists.
    pub(super) fn new(objects: Objects, config: ObjectLogSettings, clock: SharedClock, shared: Arc<Shared>, metrics: Arc<Metrics>) -> Self {
        let now = Instant::now();
        Self {
            objects,
            config,
            clock,
            shared,
            metrics,
            batch: Batch::default(),
            gathering: now,
            last_cut: now,
            next: 2,
            flying: BTreeMap::new(),
            puts: FuturesUnordered::new(),
            ended: None,
            closing: None,
        }
    }

    /// Runs until the log is closed, or nobody holds it any more.
    pub(super) async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        loop {
            if self.closing.is_some() && self.batch.is_empty() && self.flying.is_empty() {
                return self.close();
            }
            let cut_at = self.cut_at();
            if cut_at.is_some_and(|at| at <= Instant::now()) {
                self.cut();
                continue;
            }
            tokio::select! {
                biased;
                Some((number, put)) = self.puts.next(), if !self.puts.is_empty() => self.landed(number, put),
                job = jobs.recv(), if self.closing.is_none() && self.has_room() => match job {
                    Some(job) => self.take_all(job, &mut jobs),
                    None => return,
                },
                () = tokio::time::sleep_until(cut_at.unwrap_or_else(Instant::now)), if cut_at.is_some() => {}
            }
        }
    }

    /// Takes what waits, so that what came together goes together.
    fn take_all(&mut self, first: Job, jobs: &mut mpsc::UnboundedReceiver<Job>) {
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Append(records, done) => self.gather(records, done),
                Job::Close(done) => self.closing = Some(done),
            }
            next = if self.closing.is_none() && self.has_room() { jobs.try_recv().ok() } else { None };
        }
        if self.ended.is_some() {
            self.answer();
        }
    }

    fn has_room(&self) -> bool {
        self.batch.bytes() < self.config.object_bytes
    }

    fn gather(&mut self, records: EncodedRecords, done: Done) {
        if self.batch.is_empty() {
            self.gathering = Instant::now();
        }
        self.batch.push(records, done);
    }

    /// When what is gathered becomes an object; `None` while nothing is gathered or too much flies.
    fn cut_at(&self) -> Option<Instant> {
        if self.batch.is_empty() || self.ended.is_some() || self.window_is_full() {
            return None;
        }
        let now = Instant::now();
        if !self.has_room() || self.closing.is_some() {
            return Some(now);
        }
        let idle = self.flying.is_empty();
        Some(if idle { self.gathering + self.config.linger } else { self.last_cut.max(self.gathering) + self.config.gather })
    }

    /// Numbers that are not durable reach at most so far that a fence is found among the newest objects.
    fn window_is_full(&self) -> bool {
        let oldest = self.flying.keys().next().copied().unwrap_or(self.next);
        self.next - oldest >= self.config.puts_in_flight as u64
    }

    fn cut(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        let (number, nonce) = (self.next, common::store::nonce());
        self.metrics.log_bytes.add(batch.bytes() as u64);
        let (bytes, index) = match encode_records(self.objects.name, number, nonce, &mut batch) {
            Ok(encoded) => encoded,
            Err(e) => {
                self.batch = batch;
                self.end(number, e);
                return self.answer();
            }
        };
        let now = Instant::now();
        let (objects, length) = (self.objects.clone(), bytes.len() as u64);
        self.puts.push(Box::pin(async move { (number, objects.put_until_known(number, nonce, bytes).await) }));
        self.flying.insert(number, Flying { batch, index: Arc::new(index), bytes: length, since: now, landed: false });
        (self.next, self.last_cut) = (number + 1, now);
        self.publish();
    }

    fn landed(&mut self, number: u64, put: Result<Put>) {
        match put {
            Ok(Put::Won) => {
                if let Some(flying) = self.flying.get_mut(&number) {
                    flying.landed = true;
                }
            }
            Ok(Put::Lost(by)) => {
                let what = if by.kind == ObjectKind::Fence { "a fence" } else { "another writer's records" };
                let name = self.objects.name;
                let text =
                    format!("the log of server {} incarnation {} is fenced: object {number} is {what}", name.server, name.incarnation);
                self.end(number, Error::fenced(text));
            }
            Err(e) => self.end(number, e),
        }
        self.answer();
        self.publish();
    }

    /// Nothing from `number` on is durable.
    fn end(&mut self, number: u64, e: Error) {
        tracing::error!(error = %e, "the log has ended; this server takes no more writes");
        match &mut self.ended {
            Some((first, _)) if *first <= number => {}
            ended => *ended = Some((number, e)),
        }
    }

    /// Answers in order: what has become durable, and what has failed once all below it is settled.
    fn answer(&mut self) {
        while let Some(first) = self.flying.first_entry() {
            let number = *first.key();
            let failed = self.ended.as_ref().filter(|(from, _)| *from <= number).map(|(_, e)| e.clone());
            if failed.is_none() && !first.get().landed {
                return;
            }
            let Flying { batch, index, bytes, .. } = first.remove();
            let result = match failed {
                Some(e) => Err(e),
                None => {
                    let touched = self.clock.monotonic();
                    self.shared.durable(number, bytes, touched, index);
                    self.metrics.log_groups.add(1);
                    Ok(number)
                }
            };
            self.finish(batch, &result);
        }
        if let Some((_, e)) = &self.ended {
            let e = e.clone();
            self.puts.clear();
            let batch = std::mem::take(&mut self.batch);
            self.finish(batch, &Err(e));
        }
    }

    fn finish(&self, batch: Batch, result: &Result<u64>) {
        self.shared.answered(batch.bytes());
        batch.finish(result);
    }

    fn publish(&self) {
        let oldest = self.flying.values().next().map(|f| f.since);
        self.shared.now(oldest, self.ended.as_ref().map(|(_, e)| e));
    }

    fn close(self) {
        if let Some(done) = self.closing {
            let result = self.ended.map_or(Ok(self.next - 1), |(_, e)| Err(e));
            let _ = done.send(result);
        }
    }
}
