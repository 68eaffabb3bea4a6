//! Requests that are made again until they are answered.
//!
//! Only for requests of which any number may take effect in any order: puts of one object with one content, created if
//! absent, and reads. What decides between two writers is the store, whenever it does, so no lease depends on how long it takes.

use crate::{Error, ErrorKind, Result};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Longest time between two attempts that are without answer.
const LONGEST: Duration = Duration::from_secs(16);
/// An attempt is given up after so many times the time to the next one: when a fourth one has begun after it.
const GIVEN_UP: u32 = 1 + 2 + 4 + 8;
/// Longest pause after an attempt that has failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often, and how soon, a request is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// An attempt without answer is joined by another one after this long, that one by a third after twice as long, and so
    /// on to 16 s. Those before are waited for as well: a store that is slower than this, but answers, is heard.
    pub patience: Duration,
    /// The pause after the first attempt that has failed; doubled after each further one, up to 1 s.
    pub pause: Duration,
    /// Attempts in all, at least one.
    pub attempts: u32,
}

impl Persistence {
    /// Makes a request until an attempt ends with anything but `Unavailable`. `what` says for people what it does.
    ///
    /// # Errors
    /// `Unavailable` if all attempts have failed or are without answer; else what the first other answer says.
    pub async fn run<T, F>(self, what: impl Fn() -> String, request: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let begun_at = Instant::now();
        let unanswered = || Error::unavailable(format!("cannot {}: no answer within {} ms", what(), begun_at.elapsed().as_millis()));
        let attempt = |gap: Duration| {
            let answer = timeout(gap * GIVEN_UP, request());
            async { answer.await.unwrap_or_else(|_| Err(unanswered())) }
        };
        let (mut gap, mut pause, mut begun) = (self.patience, self.pause, 1);
        let mut open = FuturesUnordered::from_iter([attempt(gap)]);
        let mut due = begun_at + gap;
        loop {
            tokio::select! {
                biased;
                Some(answer) = open.next() => match answer {
                    Err(e) if e.kind == ErrorKind::Unavailable => {
                        if begun == self.attempts && open.is_empty() {
                            return Err(e);
                        }
                        due = if begun == self.attempts { due } else { due.min(Instant::now() + pause) };
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    known => return known,
                },
                () = sleep_until(due) => {
                    if begun == self.attempts {
                        return Err(unanswered());
                    }
                    // What has failed says nothing of how long an answer takes.
                    if !open.is_empty() {
                        gap = (gap * 2).min(LONGEST.max(self.patience));
                    }
                    begun += 1;
                    open.push(attempt(gap));
                    due = Instant::now() + gap;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const PATIENCE: Duration = Duration::from_millis(5);
    const NEVER: Duration = Duration::from_secs(1_000_000);

    /// Runs a request whose n-th attempt, counted from 0, takes and then gives what `does` says; the answer and the attempts.
    async fn run(attempts: u32, does: impl Fn(u32) -> (Duration, Result<u32>)) -> (Result<u32>, u32) {
        let made = AtomicU32::new(0);
        let request = || {
            let (takes, answer) = does(made.fetch_add(1, Ordering::SeqCst));
            async move {
                tokio::time::sleep(takes).await;
                answer
            }
        };
        let answer = Persistence { patience: PATIENCE, pause: PATIENCE, attempts }.run(|| "do it".into(), request).await;
        (answer, made.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_store_that_is_always_slow_is_heard() {
        let (answer, made) = run(u32::MAX, |n| (10 * PATIENCE, Ok(n))).await;
        assert!(answer == Ok(0) && made > 1, "the first attempt's answer counts though others were made: {answer:?}, {made}");
    }

    #[tokio::test]
    async fn an_attempt_that_hangs_is_joined_by_another() {
        assert_eq!(run(u32::MAX, |n| (if n < 2 { NEVER } else { Duration::ZERO }, Ok(n))).await, (Ok(2), 3));
    }

    #[tokio::test]
    async fn it_ends_with_the_last_attempt_or_the_first_other_answer() {
        let down = || Err(Error::unavailable("down"));
        assert_eq!(run(5, |_| (Duration::ZERO, down())).await, (down(), 5));
        let (answer, made) = run(3, |_| (NEVER, Ok(0))).await;
        assert!(made == 3 && answer.is_err_and(|e| e.message.contains("cannot do it: no answer within")));
        let damaged = Err(Error::corrupt("bad"));
        assert_eq!(run(5, |n| (Duration::ZERO, if n == 1 { damaged.clone() } else { down() })).await, (damaged.clone(), 2));
    }
}
