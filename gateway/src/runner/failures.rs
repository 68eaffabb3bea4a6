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
    suspects: Vec<(TableId, RangeSet)>,
}

/// A run that failed.
pub struct FailedRun<'a> {
    /// Its table.
    pub table: TableId,
    /// What it computed; everything for a table without windows.
    pub computed: RangeSet,
    /// How the table is cut.
    pub windows: Option<&'a Windows>,
    /// Of the definition it computed.
    pub fingerprint: &'a str,
    /// Whether its windows were due by force.
    pub forced: bool,
}

impl Failures {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.suspects.is_empty()
    }

    /// What [`derived::due`] is to hold back.
    #[must_use]
    pub fn list(&self) -> Vec<Failure> {
        self.known.iter().map(|k| k.failure.clone()).collect()
    }

    /// A run of these windows was published.
    pub fn succeeded(&mut self, table: TableId, done: &RangeSet) {
        for known in self.known.iter_mut().filter(|k| k.failure.table == table) {
            known.failure.windows = known.failure.windows.subtract(done);
        }
        self.known.retain(|k| !k.failure.windows.is_empty());
        self.clear_suspects(table, done);
    }

    /// A run failed.
    pub fn failed(&mut self, run: &FailedRun<'_>, error: &Error, at: Micros) {
        self.clear_suspects(run.table, &run.computed);
        let passes = is_passing(error);
        if let Some(halves) = run.windows.filter(|_| !passes).and_then(|windows| halves(windows, &run.computed)) {
            self.suspects.extend(halves.map(|half| (run.table, half)));
            return;
        }
        let is_same = |k: &Known| k.failure.table == run.table && k.failure.windows == run.computed;
        let (same, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.known).into_iter().partition(is_same);
        self.known = others;
        // What passes by itself is no reason to give up.
        let before = same.iter().map(|k| k.failure.attempts).max().unwrap_or(0);
        let attempts = if passes { before } else { before + 1 };
        let failure = Failure { table: run.table, windows: run.computed.clone(), attempts, at, error: error.message.clone() };
        self.known.push(Known { failure, fingerprint: run.fingerprint.to_owned(), forced: run.forced });
    }

    fn clear_suspects(&mut self, table: TableId, done: &RangeSet) {
        for (_, suspect) in self.suspects.iter_mut().filter(|(t, _)| *t == table) {
            *suspect = suspect.subtract(done);
        }
        self.suspects.retain(|(_, suspect)| !suspect.is_empty());
    }

    /// The part of planned windows to run first: what is not suspect, else one suspect piece.
    #[must_use]
    pub fn narrow(&self, table: TableId, planned: &RangeSet) -> RangeSet {
        let of_table = || self.suspects.iter().filter(|(t, _)| *t == table).map(|(_, suspect)| suspect.intersect(planned));
        let good = of_table().fold(planned.clone(), |left, suspect| left.subtract(&suspect));
        if good.is_empty() { of_table().find(|suspect| !suspect.is_empty()).unwrap_or(good) } else { good }
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

/// Whether an error says nothing of the run itself, only of the cluster at that time. A lack of memory is no such: fewer
/// windows at once may fit.
fn is_passing(error: &Error) -> bool {
    use ErrorKind::{DeadlineExceeded, Fenced, NotMine, SnapshotTooOld, Unavailable};
    matches!(error.kind, Unavailable | DeadlineExceeded | SnapshotTooOld | NotMine | Fenced)
}

/// Several windows in two parts; `None` for a single one.
fn halves(windows: &Windows, computed: &RangeSet) -> Option<[RangeSet; 2]> {
    let ranges = computed.ranges();
    let [(start, end)] = *ranges else {
        let (first, last) = ranges.split_at(ranges.len() / 2);
        return (!first.is_empty()).then(|| [first.iter().copied().collect(), last.iter().copied().collect()]);
    };
    let middle = windows.floor(Micros(start.0 + (end.0 - start.0) / 2));
    let middle = if middle <= start { windows.next(start) } else { middle };
    (middle < end).then(|| [RangeSet::of(start, middle), RangeSet::of(middle, end)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn days(from: i64, to: i64) -> RangeSet {
        RangeSet::of(Micros(from * DAY), Micros(to * DAY))
    }

    fn run(windows: &Windows, computed: RangeSet) -> FailedRun<'_> {
        FailedRun { table: TableId(1), computed, windows: Some(windows), fingerprint: "f", forced: false }
    }

    #[test]
    fn halving_finds_the_one_bad_window_and_runs_all_others() {
        let windows = Windows::daily_utc();
        let (mut failures, mut due) = (Failures::default(), days(0, 4).union(&days(5, 12)));
        let bad = days(7, 8);
        for _ in 0..20 {
            let held = failures.list().iter().fold(RangeSet::empty(), |all, f| all.union(&f.windows));
            let planned = due.subtract(&held);
            if planned.is_empty() {
                break;
            }
            let computed = failures.narrow(TableId(1), &planned);
            if computed.intersect(&bad).is_empty() {
                failures.succeeded(TableId(1), &computed);
                due = due.subtract(&computed);
            } else {
                failures.failed(&run(&windows, computed), &Error::invalid("bad"), Micros(0));
            }
        }
        assert_eq!(due, bad);
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
        assert_eq!(failures.narrow(TableId(1), &days(0, 5)), days(0, 5));
        failures.succeeded(TableId(1), &days(0, 5));
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
            published_at: Micros(0),
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
