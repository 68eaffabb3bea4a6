//! What failed, and how the failing windows are told from the good ones around them.
//!
//! A run of several windows that fails says nothing of each: its range is *suspect* and run again in
//! halves, until single windows fail (and are held back by [`derived::due`]) or succeed.

use common::catalog::Published;
use common::ids::TableId;
use common::time::Micros;
use common::version::RangeSet;
use common::{Error, ErrorKind};
use derived::due::Failure;
use derived::window::Windows;

/// One failed set of windows.
#[derive(Debug)]
struct Known {
    failure: Failure,
    fingerprint: String,
    /// Whether the windows were due by force when they failed: becoming so later is a wish to try again.
    forced: bool,
}

/// All failures that one runner has seen.
#[derive(Debug, Default)]
pub struct Failures {
    known: Vec<Known>,
    suspects: Vec<(TableId, (Micros, Micros))>,
}

/// A run that failed.
pub struct FailedRun<'a> {
    /// Its table.
    pub table: TableId,
    /// Its windows, if there are any.
    pub range: Option<(Micros, Micros)>,
    /// How the table is cut.
    pub windows: Option<&'a Windows>,
    /// Of the definition it computed.
    pub fingerprint: &'a str,
    /// Whether its windows were due by force.
    pub forced: bool,
}

impl Failures {
    /// What [`derived::due`] is to hold back.
    #[must_use]
    pub fn list(&self) -> Vec<Failure> {
        self.known.iter().map(|k| k.failure.clone()).collect()
    }

    /// A run of these windows was published.
    pub fn succeeded(&mut self, table: TableId, range: Option<(Micros, Micros)>) {
        let done = as_set(range);
        for known in self.known.iter_mut().filter(|k| k.failure.table == table) {
            known.failure.windows = known.failure.windows.subtract(&done);
        }
        self.known.retain(|k| !k.failure.windows.is_empty());
        self.suspects.retain(|(t, (s, e))| *t != table || !done.covers(*s, *e));
    }

    /// A run failed.
    pub fn failed(&mut self, run: &FailedRun<'_>, error: &Error, at: Micros) {
        let several = run.range.and_then(|range| halves(run.windows?, range));
        if let (Some(halves), false) = (several, is_passing(error)) {
            self.forget_suspects(run);
            self.suspects.extend(halves.map(|half| (run.table, half)));
            return;
        }
        self.forget_suspects(run);
        let windows = as_set(run.range);
        let (same, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.known).into_iter().partition(|k| k.failure.table == run.table && k.failure.windows == windows);
        self.known = others;
        // What passes by itself is no reason to give up.
        let before = same.iter().map(|k| k.failure.attempts).max().unwrap_or(0);
        let attempts = if is_passing(error) { before } else { before + 1 };
        let failure = Failure { table: run.table, windows, attempts, at, error: error.message.clone() };
        self.known.push(Known { failure, fingerprint: run.fingerprint.to_owned(), forced: run.forced });
    }

    fn forget_suspects(&mut self, run: &FailedRun<'_>) {
        let range = as_set(run.range);
        self.suspects.retain(|(t, (s, e))| *t != run.table || !range.covers(*s, *e));
    }

    /// The part of a planned range to run first: what is not suspect, else one suspect piece.
    #[must_use]
    pub fn narrow(&self, table: TableId, range: (Micros, Micros)) -> (Micros, Micros) {
        let planned = RangeSet::of(range.0, range.1);
        let of_table = || self.suspects.iter().filter(|(t, _)| *t == table).map(|(_, r)| RangeSet::of(r.0, r.1).intersect(&planned));
        let good = of_table().fold(planned.clone(), |left, suspect| left.subtract(&suspect));
        let first = |set: RangeSet| set.ranges().first().copied();
        first(good).or_else(|| of_table().find_map(first)).unwrap_or(range)
    }

    /// Inputs of these windows have changed: their failures are worth another attempt.
    pub fn inputs_changed(&mut self, table: TableId, windows: &RangeSet, retries: u32) {
        for known in self.known.iter_mut().filter(|k| k.failure.table == table) {
            if !known.failure.windows.intersect(windows).is_empty() {
                known.failure.attempts = known.failure.attempts.min(retries);
            }
        }
    }

    /// Drops failures of other definitions than `fingerprint`, and those whose windows are now due by force.
    pub fn refresh(&mut self, published: &Published, fingerprint: &str) {
        self.known.retain(|k| {
            let wished = !k.forced && !k.failure.windows.intersect(&published.forced).is_empty();
            k.failure.table != published.table || (k.fingerprint == fingerprint && !wished)
        });
    }

    /// Forgets all of a table's failures.
    pub fn resume(&mut self, table: TableId) {
        self.known.retain(|k| k.failure.table != table);
        self.suspects.retain(|(t, _)| *t != table);
    }
}

/// Whether an error says nothing of the run itself, only of the cluster at that time.
#[must_use]
pub fn is_passing(error: &Error) -> bool {
    error.is_retryable() || matches!(error.kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::SnapshotTooOld)
}

fn as_set(range: Option<(Micros, Micros)>) -> RangeSet {
    range.map_or_else(RangeSet::all, |(s, e)| RangeSet::of(s, e))
}

/// A range of several windows, cut in its middle.
fn halves(windows: &Windows, (start, end): (Micros, Micros)) -> Option<[(Micros, Micros); 2]> {
    let middle = windows.floor(Micros(start.0 + (end.0 - start.0) / 2));
    let middle = if middle <= start { windows.next(start) } else { middle };
    (start < middle && middle < end).then_some([(start, middle), (middle, end)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn days(from: i64, to: i64) -> (Micros, Micros) {
        (Micros(from * DAY), Micros(to * DAY))
    }

    fn run(windows: &Windows, range: (Micros, Micros)) -> FailedRun<'_> {
        FailedRun { table: TableId(1), range: Some(range), windows: Some(windows), fingerprint: "f", forced: false }
    }

    #[test]
    fn halving_finds_the_one_bad_window_and_runs_all_others() {
        let windows = Windows::daily_utc();
        let (mut failures, mut due) = (Failures::default(), RangeSet::of(Micros(0), Micros(10 * DAY)));
        let bad = days(7, 8);
        for _ in 0..20 {
            let held = failures.list().iter().fold(RangeSet::empty(), |all, f| all.union(&f.windows));
            let Some(&planned) = due.subtract(&held).ranges().first() else { break };
            let range = failures.narrow(TableId(1), planned);
            if RangeSet::of(range.0, range.1).meets(bad.0, bad.1) {
                failures.failed(&run(&windows, range), &Error::invalid("bad"), Micros(0));
            } else {
                failures.succeeded(TableId(1), Some(range));
                due = due.subtract(&RangeSet::of(range.0, range.1));
            }
        }
        assert_eq!(due, RangeSet::of(bad.0, bad.1));
        assert_eq!(failures.list().len(), 1);
        assert_eq!(failures.list()[0].attempts, 1);
    }

    #[test]
    fn an_unreachable_cluster_uses_up_no_attempts() {
        let windows = Windows::daily_utc();
        let mut failures = Failures::default();
        failures.failed(&run(&windows, days(0, 5)), &Error::unavailable("away"), Micros(0));
        failures.failed(&run(&windows, days(0, 5)), &Error::unavailable("away"), Micros(1));
        assert_eq!(failures.list()[0].attempts, 0);
        assert_eq!(failures.narrow(TableId(1), days(0, 5)), days(0, 5));
        failures.succeeded(TableId(1), Some(days(0, 5)));
        assert!(failures.list().is_empty());
    }

    #[test]
    fn a_stuck_window_is_tried_again_when_its_inputs_change_or_somebody_wishes() {
        let windows = Windows::daily_utc();
        let mut failures = Failures::default();
        for at in 0..5 {
            failures.failed(&run(&windows, days(1, 2)), &Error::invalid("bad"), Micros(at));
        }
        assert_eq!(failures.list()[0].attempts, 5);
        failures.inputs_changed(TableId(1), &RangeSet::of(Micros(5 * DAY), Micros(6 * DAY)), 3);
        assert_eq!(failures.list()[0].attempts, 5);
        failures.inputs_changed(TableId(1), &RangeSet::all(), 3);
        assert_eq!(failures.list()[0].attempts, 3);
        let none = RangeSet::empty;
        let published = Published {
            table: TableId(1),
            version: common::ids::Seq(1),
            windows: none(),
            complete: none(),
            forced: RangeSet::all(),
            inputs: Vec::new(),
            claimed: none(),
            runs: Vec::new(),
        };
        failures.refresh(&published, "f");
        assert!(failures.list().is_empty());
    }
}
