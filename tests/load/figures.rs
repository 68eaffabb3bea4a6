//! What the outcomes of a load say.

use crate::driver::{End, Outcome};
use crate::events::A_REQUEST;
use std::time::Duration;

/// Prints rates and latencies of a phase.
pub fn print(phase: &str, outcomes: &[Outcome], lasting: Duration) {
    let stored = of(outcomes, |end| end == End::Stored);
    let refused = of(outcomes, |end| end == End::Refused).len();
    let per_second = (stored.len() as u64 * A_REQUEST) as f64 / lasting.as_secs_f64();
    let ms = |share: f64| quantile(&stored, share).as_secs_f64() * 1000.0;
    let unsent = of(outcomes, |end| end == End::Unsent).len();
    let failed = outcomes.len() - stored.len() - refused - unsent;
    println!(
        "{phase}: {per_second:.0} events/s stored, {refused} of {} requests refused, {unsent} not sent, {failed} failed",
        outcomes.len()
    );
    println!("{phase}: p50 {:.0} ms, p99 {:.0} ms, p999 {:.0} ms of those stored", ms(0.5), ms(0.99), ms(0.999));
    let seconds = by_second(outcomes, lasting);
    let least = seconds.iter().map(|s| s.0).min().unwrap_or(0);
    println!("{phase}: {least} events stored in the second with the fewest");
    if least * 2 < per_second as u64 {
        let each: Vec<_> = seconds.iter().map(|(stored, _)| (stored / 1000).to_string()).collect();
        println!("{phase}: thousands of events stored in each second: {}", each.join(" "));
    }
}

/// Since the load began, after which second the 99th percentile of every later second is below `bar`; `None`: never.
pub fn calm_after(outcomes: &[Outcome], lasting: Duration, bar: Duration) -> Option<usize> {
    let seconds = by_second(outcomes, lasting);
    let last_bad = seconds.iter().rposition(|(stored, p99)| *stored == 0 || *p99 >= bar);
    match last_bad {
        None => Some(0),
        Some(last) if last + 1 < seconds.len() => Some(last + 1),
        Some(_) => None,
    }
}

/// Of each second: events stored that were due or answered in it, and the 99th percentile of those due in it.
fn by_second(outcomes: &[Outcome], lasting: Duration) -> Vec<(u64, Duration)> {
    let stored: Vec<&Outcome> = outcomes.iter().filter(|o| o.end == End::Stored).collect();
    let within = |at: Duration, second: u64| at.as_secs() == second;
    (0..lasting.as_secs())
        .map(|second| {
            let answered = stored.iter().filter(|o| within(o.due + o.took, second)).count() as u64 * A_REQUEST;
            let mut due: Vec<Duration> = stored.iter().filter(|o| within(o.due, second)).map(|o| o.took).collect();
            due.sort_unstable();
            (answered, quantile(&due, 0.99))
        })
        .collect()
}

fn of(outcomes: &[Outcome], wanted: impl Fn(End) -> bool) -> Vec<Duration> {
    let mut took: Vec<Duration> = outcomes.iter().filter(|o| wanted(o.end)).map(|o| o.took).collect();
    took.sort_unstable();
    took
}

/// Of sorted durations; zero if there are none.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}
