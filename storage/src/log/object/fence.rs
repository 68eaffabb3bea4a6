//! Ending another incarnation's log: the next free number is created as a fence, so that its writer's next put fails.
//!
//! The writer has several puts in flight, so numbers above the first free one may exist: they were never acknowledged,
//! and never will be. The position is therefore the first number, counted from what is durable, that holds a fence or
//! nothing. It counts only if the number below exists: else a stale list has shown a place that was trimmed long ago.
//!
//! The fence object stays for ever, so that a writer that wakes up late loses too.

use super::MAX_PUTS_IN_FLIGHT;
use super::format::{ObjectHeader, ObjectKind};
use super::put::{Objects, Put};
use crate::format::{LogName, names};
use crate::log::reader::numbers;
use common::store::{Persistence, SharedStore, failed};
use common::{Error, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// A request of a fencer without answer is made again after this long, then after ever longer.
const ATTEMPT: Duration = Duration::from_secs(1);
/// After a request that has failed at once: others wait for the fence.
const PAUSE: Duration = Duration::from_millis(1);
/// How often requests are made at most, and how often the log is listed.
const ATTEMPTS: u32 = 5;
/// A live writer may win number after number: after so many the fencer bars its way further up.
const LOST_BEFORE_BARRING: u32 = 8;
/// All that is not durable lies among so many of the newest numbers, a bar included.
const WINDOW: u64 = 2 * MAX_PUTS_IN_FLIGHT as u64 + 2;

/// Fences the log of `log`: once this returns, its owner acknowledges nothing from the returned number on, ever. Every
/// record below it is there to be read, and is all that was acknowledged.
///
/// A log that is fenced keeps its position, whoever asks again. `nonce` names this caller's fence over retries.
///
/// # Errors
/// `Unavailable` if the store does not answer: to be repeated with the same nonce. `Corrupt` if an object of the log is
/// damaged.
pub async fn fence_log(store: &SharedStore, log: LogName, nonce: u128) -> Result<u64> {
    let fencer = Fencer { objects: Objects { store: store.clone(), name: log, attempt: ATTEMPT }, nonce };
    for _ in 0..ATTEMPTS {
        if let Some(position) = fencer.fence().await? {
            return Ok(position);
        }
    }
    Err(Error::unavailable(format!("log '{}' is not fenced: what the store lists keeps changing", names::log_prefix(log))))
}

struct Fencer {
    objects: Objects,
    nonce: u128,
}

impl Fencer {
    /// Lists and fences; `None` if the list was stale.
    async fn fence(&self) -> Result<Option<u64>> {
        let Some(newest) = self.newest_objects().await? else { return Ok(None) };
        let mut at = match place(&newest) {
            Place::Fenced(position) => return Ok(Some(position)),
            Place::Free(at) => at,
        };
        if !self.exists_below(at).await? {
            return Ok(None);
        }
        let mut lost = 0;
        loop {
            match self.put(at).await? {
                Put::Won if self.exists_below(at).await? => return Ok(Some(at)),
                Put::Won => {
                    self.delete(at).await?;
                    return Ok(None);
                }
                Put::Lost(header) if header.kind == ObjectKind::Fence => return Ok(Some(at)),
                Put::Lost(_) => at += 1,
            }
            lost += 1;
            if lost % LOST_BEFORE_BARRING == 0 {
                // Above what may be in flight: its writer gets no further, and what it leaves free is fenced.
                self.put(at + MAX_PUTS_IN_FLIGHT as u64).await?;
            }
        }
    }

    /// What the newest numbers hold; `None` if what is listed is not there.
    async fn newest_objects(&self) -> Result<Option<BTreeMap<u64, ObjectHeader>>> {
        let list = || numbers(&self.objects.store, self.objects.name);
        let mut numbers = self.repeated(list).await?;
        if numbers.is_empty() {
            numbers = self.repeated(list).await?;
        }
        let newest = numbers.last().copied();
        let from = newest.unwrap_or_default().saturating_sub(WINDOW);
        let found = stream::iter(numbers.into_iter().filter(|n| *n >= from))
            .map(|number| async move { self.repeated(|| self.objects.header(number)).await.map(|header| (number, header)) })
            .buffered(MAX_PUTS_IN_FLIGHT);
        let found: Vec<_> = found.try_collect().await?;
        let found: BTreeMap<_, _> = found.into_iter().filter_map(|(number, header)| Some((number, header?))).collect();
        Ok(newest.is_none_or(|newest| found.contains_key(&newest)).then_some(found))
    }

    async fn put(&self, number: u64) -> Result<Put> {
        let header = ObjectHeader { log: self.objects.name, number, nonce: self.nonce, kind: ObjectKind::Fence };
        let bytes = bytes::Bytes::from(header.encode()?);
        fail::fail_point!("log-fence-put", |_| Err(Error::unavailable("failpoint: log-fence-put")));
        let put = self.repeated(|| self.objects.put_once(number, self.nonce, bytes.clone())).await?;
        fail::fail_point!("log-fence-put-done", |_| Err(Error::unavailable("failpoint: log-fence-put-done")));
        Ok(put)
    }

    async fn exists_below(&self, number: u64) -> Result<bool> {
        Ok(number == 1 || self.repeated(|| self.objects.header(number - 1)).await?.is_some())
    }

    async fn delete(&self, number: u64) -> Result<()> {
        let path = names::log_object(self.objects.name, number);
        self.objects.store.delete(&path).await.map_err(|e| failed("delete", &path, &e))
    }

    async fn repeated<T, F: Future<Output = Result<T>>>(&self, request: impl Fn() -> F) -> Result<T> {
        let what = || format!("fence log '{}'", names::log_prefix(self.objects.name));
        Persistence { patience: ATTEMPT, pause: PAUSE, attempts: ATTEMPTS }.run(what, request).await
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// The log is fenced here.
    Fenced(u64),
    /// The first number, from what is durable, that holds nothing.
    Free(u64),
}

/// Where the fence of a log is or belongs, by what its newest numbers hold.
fn place(newest: &BTreeMap<u64, ObjectHeader>) -> Place {
    let is_fence = |number: u64| newest.get(&number).is_some_and(|h| h.kind == ObjectKind::Fence);
    let Some(mut first) = newest.keys().next().copied() else { return Place::Free(1) };
    // The lowest of them is durable. Unless it is a fence: of a log whose records are deleted, or, if records follow,
    // put at a number that had been trimmed.
    if is_fence(first) {
        match newest.iter().find(|(_, h)| h.kind == ObjectKind::Records) {
            Some((number, _)) => first = *number,
            None => return Place::Fenced(first),
        }
    }
    match (first..).find(|n| is_fence(*n) || !newest.contains_key(n)) {
        Some(number) if is_fence(number) => Place::Fenced(number),
        Some(number) => Place::Free(number),
        None => Place::Free(u64::MAX),
    }
}

/// Deletes the objects of a dead log, except its fence at `position`: above it downward, then below it upward.
///
/// # Errors
/// `Unavailable`; what is left is deleted by a later call.
pub(crate) async fn remove_objects(store: &SharedStore, log: LogName, position: u64) -> Result<()> {
    let found = numbers(store, log).await?;
    let (below, above) = found.split_at(found.partition_point(|n| *n < position));
    for number in above.iter().rev().filter(|n| **n > position).chain(below) {
        fail::fail_point!("dead-log-delete", |_| Err(Error::unavailable("failpoint: dead-log-delete")));
        let path = names::log_object(log, *number);
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(failed("delete", &path, &e)),
        }
    }
    Ok(())
}
