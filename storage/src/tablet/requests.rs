//! Which requests were answered, and how: a repetition gets the first answer.

use super::RequestId;
use crate::format::{LogBody, LogRecord, Outcome, Remembered, StoredRow};
use common::envelope::AsJson;
use common::ids::Seq;
use common::row::Committed;
use common::time::Micros;
use common::{Error, ErrorKind, Result};
use std::collections::{HashMap, HashSet, VecDeque};
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

/// What a log record says of the request that it answers; `None` if it answers none.
pub(super) fn of_record(record: &LogRecord) -> Option<Remembered> {
    let of_range = |request: Option<RequestId>, timestamp| request.map(|id| super::delete_range::remembered(id, record.last, timestamp));
    match &record.body {
        LogBody::Write { request, timestamp, refused, rows } => {
            let total = (rows.len() + refused.len()) as u32;
            let (timestamp, refused, outcome) = (*timestamp, refused.clone(), Outcome::Written);
            request.map(|request| Remembered { request, first: record.first, rows: total, timestamp, refused, outcome })
        }
        LogBody::Conditional { request, timestamp, matched, row } => {
            request.map(|request| conditional(request, record.last, *timestamp, *matched, row.as_ref()))
        }
        LogBody::DeleteRange { request, timestamp, .. } | LogBody::Ingest { request, timestamp, .. } => of_range(*request, *timestamp),
        LogBody::Stage { .. }
        | LogBody::Apply { .. }
        | LogBody::DropStaged { .. }
        | LogBody::ClosedTablet
        | LogBody::Requests(_)
        | LogBody::Restart => None,
    }
}

/// What several tablets remember, as the one that they have become does: each request once.
pub(super) fn joined(by_tablet: Vec<Vec<Remembered>>) -> Vec<Remembered> {
    let (mut all, mut at): (Vec<Remembered>, HashMap<RequestId, usize>) = (Vec::new(), HashMap::new());
    for remembered in by_tablet {
        let mut own = HashSet::new();
        // Of what one tablet says twice, the first counts: the rest are copies.
        for r in remembered.into_iter().filter(|r| own.insert(r.request)) {
            match at.get(&r.request) {
                None => {
                    at.insert(r.request, all.len());
                    all.push(r);
                }
                Some(there) => join(&mut all[*there], r),
            }
        }
    }
    all
}

fn join(there: &mut Remembered, r: Remembered) {
    if *there == r {
        return;
    }
    let parts = |r: &Remembered| match &r.outcome {
        Outcome::Written => vec![r.clone()],
        Outcome::Joined(parts) => parts.clone(),
        // A request about one row, or about a range that one tablet had, is decided once.
        Outcome::Checked(_) | Outcome::Modified(_) => Vec::new(),
    };
    let mut all = parts(there);
    let new: Vec<_> = parts(&r).into_iter().filter(|part| !all.contains(part)).collect();
    all.extend(new);
    if !all.is_empty() {
        *there = Remembered { timestamp: there.timestamp.max(r.timestamp), outcome: Outcome::Joined(all), ..there.clone() };
    }
}

/// One result a row of a write, in order.
pub(super) fn results(r: &Remembered) -> Result<Results> {
    if let Outcome::Joined(parts) = &r.outcome {
        let by_row = |a: Result<Results>, b: Result<Results>| Ok(a?.into_iter().zip(b?).map(|(a, b)| decided(a, b)).collect());
        return parts.iter().map(results).reduce(by_row).unwrap_or_else(|| Err(mistaken()));
    }
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

/// What two tablets say of one row: that of the one it belonged to.
fn decided(a: Result<Committed>, b: Result<Committed>) -> Result<Committed> {
    if a.as_ref().is_err_and(|e| e.kind == ErrorKind::NotMine) { b } else { a }
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

    /// What a tablet remembers of a write of two rows, of which the one at `mine` was its own.
    fn half(seq: u64, mine: u32) -> Remembered {
        let refused = vec![(1 - mine, AsJson(Error::not_mine("elsewhere")))];
        Remembered { request: [7; 16], first: Seq(seq), rows: 2, timestamp: Micros(1), refused, outcome: Outcome::Written }
    }

    fn seqs(r: &Remembered) -> Vec<Option<u64>> {
        results(r).unwrap().into_iter().map(|r| r.map(|c| c.seq.0).ok()).collect()
    }

    #[test]
    fn halves_of_a_write_are_one_answer_after_a_merge() {
        let all = joined(vec![vec![half(5, 0)], vec![half(9, 1)]]);
        assert_eq!((all.len(), seqs(&all[0])), (1, vec![Some(5), Some(9)]));
        let again = joined(vec![all.clone(), vec![half(9, 1)]]);
        assert_eq!(seqs(&again[0]), [Some(5), Some(9)]);
        assert_eq!(joined(vec![all.clone(), all.clone()]), all, "the same is remembered once");
        assert_eq!(joined(vec![vec![half(5, 0), half(6, 0)]]), [half(5, 0)], "a copy is no other half");
    }
}
