//! Requests at a rate, whether or not earlier ones have been answered.

use crate::client::Client;
use crate::events::{A_REQUEST, Events};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub request: u64,
    /// When it was due, since the load began.
    pub due: Duration,
    /// From when it was due until its answer: a request that could not be sent in time has waited as well.
    pub took: Duration,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of its rows are stored.
    Stored,
    /// 429 or 503, `RESOURCE_EXHAUSTED` or `UNAVAILABLE`: nothing is said of its rows.
    Refused,
    /// As many as may be were without an answer.
    Unsent,
    /// Any other status, or none.
    Failed(u16),
}

/// What is sent, where, and how many requests may be without an answer.
#[derive(Clone)]
pub struct Load {
    pub client: Arc<Client>,
    pub events: Arc<Events>,
    pub open: usize,
}

/// Offers `events_per_second` for a time; request numbers go on from `next`.
pub async fn offer(load: &Load, events_per_second: u64, lasting: Duration, next: &mut u64) -> Vec<Outcome> {
    let (began, open) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let requests = (lasting.as_secs_f64() * events_per_second as f64 / A_REQUEST as f64) as u64;
    let (mut outcomes, mut sent) = (Vec::new(), JoinSet::new());
    for n in 0..requests {
        let due = Duration::from_secs_f64((n * A_REQUEST) as f64 / events_per_second as f64);
        tokio::time::sleep_until((began + due).into()).await;
        let request = *next;
        *next += 1;
        if open.load(Ordering::Relaxed) >= load.open {
            outcomes.push(Outcome { request, due, took: Duration::ZERO, end: End::Unsent });
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (load, open) = (load.clone(), open.clone());
        sent.spawn(async move {
            let end = load.client.send(load.events.request(request)).await;
            open.fetch_sub(1, Ordering::Relaxed);
            Outcome { request, due, took: began.elapsed().saturating_sub(due), end }
        });
    }
    outcomes.extend(sent.join_all().await);
    outcomes.sort_unstable_by_key(|o| o.due);
    outcomes
}
