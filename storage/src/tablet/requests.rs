//! Which requests were answered, and how: a repetition gets the first answer.

use super::RequestId;
use crate::format::{Outcome, Remembered, StoredRow};
use common::envelope::AsJson;
use common::ids::Seq;
use common::row::Committed;
use common::time::Micros;
use common::{Error, Result};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a request is remembered after its answer was begun.
pub(super) const REMEMBER: Duration = Duration::from_secs(60);

/// One result a row.
pub(super) type Results = Vec<Result<Committed>>;

/// What an answer is made from: a few bytes, however many rows the request had.
pub(super) type Told = Option<Result<Arc<Remembered>>>;

/// An answer that may still be on its way.
pub(super) type Answer = watch::Receiver<Told>;

/// Waits for an answer.
pub(super) async fn answered(mut answer: Answer) -> Result<Arc<Remembered>> {
    let lost = || Error::unavailable("the write that this one repeats has ended without an answer: its outcome is unknown");
    let found = answer.wait_for(Option::is_some).await.map_err(|_| lost())?;
    match &*found {
        Some(Ok(remembered)) => Ok(remembered.clone()),
        Some(Err(e)) => Err(e.clone()),
        None => Err(lost()),
    }
}

/// The requests of one tablet.
#[derive(Debug, Default)]
pub(super) struct Requests {
    answers: HashMap<RequestId, Answer>,
    /// Oldest first, with the time to forget each.
    order: VecDeque<(Duration, RequestId)>,
}

impl Requests {
    pub(super) fn find(&self, request: &RequestId) -> Option<Answer> {
        self.answers.get(request).cloned()
    }

    /// Remembers a request; the answer goes into what is returned.
    pub(super) fn begin(&mut self, request: RequestId, now: Duration) -> watch::Sender<Told> {
        while let Some((_, old)) = self.order.pop_front_if(|(until, _)| *until < now) {
            self.answers.remove(&old);
        }
        let (answer, waiting) = watch::channel(None);
        self.answers.insert(request, waiting);
        self.order.push_back((now + REMEMBER, request));
        answer
    }

    /// The answers given to requests that are still remembered, oldest first.
    pub(super) fn remembered(&self, now: Duration) -> Vec<Remembered> {
        let live = self.order.iter().filter(|(until, _)| *until >= now).filter_map(|(_, id)| self.answers.get(id));
        let given = live.filter_map(|answer| match &*answer.borrow() {
            Some(Ok(remembered)) => Some(Remembered::clone(remembered)),
            _ => None,
        });
        given.collect()
    }

    /// Remembers what a log remembers.
    pub(super) fn restore(&mut self, remembered: &Remembered, now: Duration) {
        let _ = self.begin(remembered.request, now).send(Some(Ok(Arc::new(remembered.clone()))));
    }
}

/// What is remembered of a conditional write or read-modify-write whose mutation, if any, has this seq.
pub(super) fn conditional(request: RequestId, seq: Seq, timestamp: Micros, matched: Option<bool>, row: Option<&StoredRow>) -> Remembered {
    let outcome = match matched {
        Some(matched) => Outcome::Checked(matched),
        None => Outcome::Modified(row.map_or_else(Vec::new, |row| row.cells.clone())),
    };
    Remembered { request, first: seq, rows: u32::from(row.is_some()), timestamp, refused: Vec::new(), outcome }
}

/// The answer to a request whose id was given to a request of another kind before.
pub(super) fn mistaken() -> Error {
    Error::invalid("the request id was given to a request of another kind: choose a new one for each request")
}

/// One result a row of a write, in order.
pub(super) fn results(r: &Remembered) -> Result<Results> {
    if r.outcome != Outcome::Written {
        return Err(mistaken());
    }
    let mut refused = r.refused.iter().peekable();
    let mut next = r.first;
    let row = |i: u32| {
        if let Some((_, AsJson(e))) = refused.next_if(|(at, _)| *at == i) {
            return Err(e.clone());
        }
        let committed = Committed { seq: next, timestamp: r.timestamp };
        next = Seq(next.0 + 1);
        Ok(committed)
    };
    Ok((0..r.rows).map(row).collect())
}

/// Whether a request with this timestamp is still worth remembering.
pub(super) fn is_recent(timestamp: Micros, now: Micros) -> bool {
    timestamp > now.before(REMEMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_forgotten_after_a_minute() {
        let mut requests = Requests::default();
        let _ = requests.begin([1; 16], Duration::ZERO);
        let _ = requests.begin([2; 16], REMEMBER);
        assert!(requests.find(&[1; 16]).is_some());
        let _ = requests.begin([3; 16], REMEMBER + Duration::from_millis(1));
        assert!(requests.find(&[1; 16]).is_none() && requests.find(&[2; 16]).is_some());
    }

    #[test]
    fn results_keep_the_places_of_refused_rows() {
        let refused = vec![(1, AsJson(Error::invalid("no")))];
        let r = Remembered { request: [0; 16], first: Seq(7), rows: 3, timestamp: Micros(1), refused, outcome: Outcome::Written };
        let seqs: Vec<_> = results(&r).unwrap().into_iter().map(|r| r.map(|c| c.seq.0).ok()).collect();
        assert_eq!(seqs, [Some(7), None, Some(8)]);
    }
}
