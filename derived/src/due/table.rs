//! The decision on one table.

use super::group::{self, Marks};
use super::inputs::Inputs;
use super::{Decision, Facts, Failure, PlannedRun, State, Wait};
use crate::definition::Late;
use crate::document::{Artifact, OutputWindow, Strategy};
use common::catalog::Published;
use common::ids::TableId;
use common::time::Micros;
use common::version::RangeSet;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn decide(facts: &Facts<'_>, artifact: &Artifact, states: &BTreeMap<String, State>) -> Option<(Decision, State)> {
    let id = facts.catalog.table(&artifact.name)?.id;
    let blank = blank(id);
    let published = facts.catalog.published(id).unwrap_or(&blank);
    let inputs = Inputs { facts, artifact, states, own: None };
    let inputs = Inputs { own: itself(&inputs, published), ..inputs };
    let table = Deciding { facts, artifact, published, inputs };
    Some(match &artifact.window {
        Some(window) => table.windowed(window),
        None => table.whole(),
    })
}

/// What a table that reads itself may expect of its own earlier windows.
fn itself(inputs: &Inputs<'_>, published: &Published) -> Option<State> {
    let window = inputs.artifact.window.as_ref().filter(|_| inputs.artifact.reads_itself())?;
    let (start, frozen) = (inputs.start(window), inputs.frozen(window));
    let before = start.map_or_else(RangeSet::empty, |s| RangeSet::of(Micros::MIN, s));
    Some(State { complete: published.complete.union(&before).union(&frozen), published: true, start, ..State::default() })
}

fn blank(table: TableId) -> Published {
    let none = RangeSet::empty;
    Published {
        table,
        version: common::ids::Seq::ZERO,
        published_at: Micros(0),
        windows: none(),
        complete: none(),
        forced: none(),
        inputs: Vec::new(),
        claimed: none(),
        runs: Vec::new(),
    }
}

struct Deciding<'a> {
    facts: &'a Facts<'a>,
    artifact: &'a Artifact,
    published: &'a Published,
    inputs: Inputs<'a>,
}

/// The due windows of one table.
#[derive(Default)]
struct Walked {
    /// Those that run now.
    marks: Vec<Marks>,
    /// Those that run now or soon.
    soon: RangeSet,
    /// Those that nobody waits for.
    stuck: RangeSet,
    waits: BTreeMap<String, RangeSet>,
}

impl Walked {
    fn due(&self) -> RangeSet {
        self.soon.union(&self.stuck)
    }

    /// Leaves only the first due window to run: what comes after it may read it.
    fn in_order(&mut self) {
        let due = self.due();
        let Some(&(first, _)) = due.ranges().first() else { return };
        self.marks.retain(|m| m.start == first);
        let stuck = self.stuck.ranges().first().is_some_and(|r| r.0 == first);
        if stuck {
            // What waits for a window that nobody waits for, nobody waits for either.
            (self.stuck, self.soon) = (due.clone(), RangeSet::empty());
        }
        let said = self.waits.values().fold(RangeSet::empty(), |all, w| all.union(w));
        let running = self.marks.first().map_or_else(RangeSet::empty, |m| RangeSet::of(m.start, m.end));
        let waiting = due.subtract(&said).subtract(&running);
        if !waiting.is_empty() {
            self.waits.insert("earlier windows of the table itself come first".into(), waiting);
        }
    }
}

/// What keeps due windows from running.
enum Held {
    /// They will run soon: descendants wait.
    Soon(String),
    /// Nobody waits for them.
    Stuck(String),
}

impl Deciding<'_> {
    fn windowed(&self, window: &OutputWindow) -> (Decision, State) {
        let start = self.inputs.start(window);
        let reached: Vec<_> = self.inputs.unsettled().collect();
        let mut mixed = self.inputs.mixed();
        let frozen = self.inputs.frozen(window);
        let sets = self.sets(window, start, &frozen);
        let mut walked = self.walk(window, &sets, &reached, &mixed);
        if !sets.late.is_empty() {
            walked.waits.insert("an input no longer holds all that they read: they stay as they are".into(), sets.late.clone());
        }
        if self.artifact.reads_itself() {
            walked.in_order();
        }
        let before = start.map_or_else(RangeSet::empty, |s| RangeSet::of(Micros::MIN, s));
        // Nothing more will become of frozen windows.
        let complete = self.published.complete.union(&before).union(&frozen);
        let watermark = start.and_then(|first| complete.ranges().iter().find(|(s, e)| *s <= first && first <= *e)).map(|r| r.1);
        if !walked.stuck.is_empty() {
            mixed.insert(self.artifact.name.clone(), walked.stuck.clone());
        }
        // What an ancestor is about to change here is not settled either, due or not yet.
        let coming = reached.iter().fold(RangeSet::empty(), |all, (_, w)| all.union(w)).intersect(&self.published.windows);
        let whole = matches!(self.artifact.strategy, Strategy::Merge(_));
        let decision = Decision {
            table: self.artifact.name.clone(),
            due: walked.due(),
            runs: group::runs(&window.windows, walked.marks, self.facts.max_windows, whole),
            waits: walked.waits.into_iter().map(|(why, windows)| Wait { windows, why }).collect(),
            start,
            watermark,
        };
        let published = self.published.version.0 > 0;
        let soon = match walked.soon.ranges().first() {
            // Each window may change all later ones.
            Some(&(first, _)) if self.artifact.reads_itself() => RangeSet::of(first, Micros::MAX),
            _ => walked.soon,
        };
        (decision, State { unsettled: soon.union(&coming), mixed, complete, published, start })
    }

    /// Looks at every window that may be due.
    fn walk(&self, window: &OutputWindow, sets: &Sets, reached: &[(&str, RangeSet)], mixed: &BTreeMap<String, RangeSet>) -> Walked {
        let mut walked = Walked::default();
        let candidates = sets.candidates.ranges().iter().flat_map(|&(from, to)| window.windows.iter(from, to));
        for (s, e) in candidates {
            if !self.artifact.timing.eager && self.inputs.end_before(window, s, e) {
                // This window says it for all that follow.
                if let Some(input) = self.inputs.incomplete(window, s, e) {
                    walked.waits.entry(format!("{input} is not complete up to its end yet")).or_default().insert(s, e);
                }
                break;
            }
            let Some(due) = sets.due(self, window, mixed, s, e) else { continue };
            let held = self.held(&due, reached, s, e);
            let (set, why) = match held {
                None => (&mut walked.soon, None),
                Some(Held::Soon(why)) => (&mut walked.soon, Some(why)),
                Some(Held::Stuck(why)) => (&mut walked.stuck, Some(why)),
            };
            set.insert(s, e);
            match why {
                Some(why) => walked.waits.entry(why).or_default().insert(s, e),
                None if self.published.claimed.meets(s, e) => {}
                None => walked.marks.push(due),
            }
        }
        walked
    }

    fn whole(&self) -> (Decision, State) {
        let dirty = self.dirty().union(&self.published.forced);
        let never = self.published.version.0 == 0;
        let mixed = self.inputs.mixed();
        let reached: Vec<_> = self.inputs.unsettled().collect();
        let (mut runs, mut waits, mut state) = (Vec::new(), Vec::new(), State { published: !never, ..State::default() });
        let coming = reached.iter().any(|(_, w)| !w.is_empty());
        let run_time = self.run_time();
        let is_due = never || !dirty.is_empty() || run_time.is_some_and(|at| !self.published.complete.covers(Micros::MIN, at));
        if is_due {
            let mut mark = Marks {
                start: Micros::MIN,
                end: Micros::MAX,
                complete: mixed.is_empty(),
                reason: self.reason(never, &dirty),
                mixed: Vec::new(),
            };
            mark.mixed = mixed.keys().cloned().collect();
            let held = self.inputs.missing().map(Held::Soon).or_else(|| self.held(&mark, &reached, Micros::MIN, Micros::MAX));
            match held {
                None if self.published.claimed.is_empty() => {
                    let (complete, reason, mixed_with) = (mark.complete, mark.reason, mark.mixed);
                    runs.push(PlannedRun { range: None, whole: true, complete, reason, mixed_with, run_time })
                }
                None => {}
                Some(Held::Soon(why)) => waits.push(Wait { windows: RangeSet::all(), why }),
                Some(Held::Stuck(why)) => {
                    waits.push(Wait { windows: RangeSet::all(), why });
                    state.mixed.insert(self.artifact.name.clone(), RangeSet::all());
                }
            }
        }
        if coming || (is_due && state.mixed.is_empty()) {
            state.unsettled = RangeSet::all();
        }
        state.mixed.extend(mixed);
        let due = if is_due { RangeSet::all() } else { RangeSet::empty() };
        (Decision { table: self.artifact.name.clone(), due, runs, waits, start: None, watermark: None }, state)
    }

    fn reason(&self, never: bool, dirty: &RangeSet) -> &'static str {
        match () {
            () if never => "first build",
            () if !self.published.forced.is_empty() => "changed definition",
            () if dirty.is_empty() => "schedule",
            () => "new data",
        }
    }

    /// The scheduled time that a run would use, if the SQL does.
    fn run_time(&self) -> Option<Micros> {
        let schedule = self.artifact.timing.schedule.as_ref().filter(|_| self.artifact.uses_run_time)?;
        schedule.last(self.facts.now)
    }

    /// Until when its schedule keeps due work waiting: once nothing was due, up to the next scheduled time.
    fn unscheduled(&self) -> Option<Micros> {
        let schedule = self.artifact.timing.schedule.as_ref()?;
        let idle = self.facts.idle.get(&self.published.table)?;
        let opened = schedule.last(self.facts.now).is_some_and(|at| at > *idle);
        if opened { None } else { schedule.next(self.facts.now) }
    }

    /// A changed definition marks all that is published; a person usually marks some of it.
    fn forced_reason(&self) -> &'static str {
        let all = self.published.windows.subtract(&self.published.forced).is_empty();
        if all { "changed definition" } else { "backfill" }
    }

    /// Windows with changes that no run has computed.
    fn dirty(&self) -> RangeSet {
        let followed = self.published.inputs.iter().map(|i| &i.dirty);
        let table = self.published.table;
        let pending = self.facts.pending.range((table, TableId(0))..=(table, TableId(u64::MAX))).map(|(_, w)| w);
        followed.chain(pending).fold(RangeSet::empty(), |all, w| all.union(w))
    }

    fn sets(&self, window: &OutputWindow, start: Option<Micros>, frozen: &RangeSet) -> Sets {
        let upto = window.windows.next(self.facts.now);
        let base = start.map_or_else(RangeSet::empty, |s| RangeSet::of(s, upto));
        let changed = if self.ignores_late() { RangeSet::empty() } else { self.dirty() };
        let dirty = window.windows.align_out(&changed).intersect(&base);
        let forced = window.windows.align_out(&self.published.forced).intersect(&base);
        let unfinished = base.subtract(&self.published.complete);
        let candidates = unfinished.union(&dirty).union(&forced).subtract(frozen);
        Sets { candidates, late: dirty.union(&forced).intersect(frozen), dirty, forced }
    }

    fn ignores_late(&self) -> bool {
        matches!(self.artifact.strategy, Strategy::Append { late: Late::Ignore })
    }

    /// Why a due window does not run now.
    fn held(&self, due: &Marks, reached: &[(&str, RangeSet)], s: Micros, e: Micros) -> Option<Held> {
        let definition = self.facts.catalog.definition(&self.artifact.name);
        if definition.is_some_and(|d| d.paused) {
            return Some(Held::Stuck("the table is paused".into()));
        }
        let failures = self.facts.failures.iter().filter(|f| f.table == self.published.table && f.windows.meets(s, e));
        if let Some(held) = failures.max_by_key(|f| f.attempts).and_then(|f| self.after_failure(f)) {
            return Some(held);
        }
        if let Some((name, _)) = reached.iter().find(|(_, w)| w.meets(s, e)) {
            return Some(Held::Soon(format!("{name} has due windows that reach it")));
        }
        // A wish of a person is no matter of schedule.
        if let Some(until) = self.unscheduled().filter(|_| due.reason != "backfill") {
            return Some(Held::Stuck(format!("its schedule starts it at {until}")));
        }
        self.resting(due).map(|until| Held::Stuck(format!("it rests until {until}")))
    }

    fn after_failure(&self, failure: &Failure) -> Option<Held> {
        if failure.attempts > self.artifact.timing.retries {
            return Some(Held::Stuck(format!("{} attempts failed, the last with: {}", failure.attempts, failure.error)));
        }
        let again = failure.at.after(backoff(failure.attempts));
        (self.facts.now < again).then(|| Held::Soon(format!("it failed and is tried again at {again}: {}", failure.error)))
    }

    /// The end of the interval that keeps such a window from running again.
    fn resting(&self, due: &Marks) -> Option<Micros> {
        let timing = &self.artifact.timing;
        let interval = match due.reason {
            "late data" => timing.repair_interval,
            "new data" if !due.complete || self.artifact.window.is_none() => timing.min_interval,
            _ => None,
        };
        let until = self.facts.last_run.get(&self.published.table)?.after(interval?);
        (self.facts.now < until).then_some(until)
    }
}

/// The time after the n-th failure in a row before the next attempt: 1 s, doubled each time, at most 5 min.
fn backoff(attempts: u32) -> Duration {
    Duration::from_secs(1 << attempts.saturating_sub(1).min(9)).min(Duration::from_secs(300))
}

struct Sets {
    /// Aligned to windows.
    candidates: RangeSet,
    /// Frozen windows that something would make due.
    late: RangeSet,
    dirty: RangeSet,
    forced: RangeSet,
}

impl Sets {
    /// Whether and why a window is due; `None`: it is not, or waits for its inputs to be complete.
    fn due(&self, table: &Deciding<'_>, window: &OutputWindow, mixed: &BTreeMap<String, RangeSet>, s: Micros, e: Micros) -> Option<Marks> {
        let published = table.published.windows.covers(s, e);
        let was_complete = table.published.complete.covers(s, e);
        let mixed: Vec<_> = mixed.iter().filter(|(_, w)| w.meets(s, e)).map(|(name, _)| name.clone()).collect();
        let inputs = &table.inputs;
        let ready = inputs.incomplete(window, s, e).is_none() && inputs.ingesting().is_none() && inputs.missing().is_none();
        let eager = table.artifact.timing.eager && inputs.missing().is_none();
        if !(ready || eager) {
            return None;
        }
        let reason = match () {
            () if self.forced.covers(s, e) && published => table.forced_reason(),
            () if !published && table.published.version.0 == 0 => "first build",
            () if !published => "new data",
            () if self.dirty.covers(s, e) => {
                if was_complete {
                    "late data"
                } else {
                    "new data"
                }
            }
            // Computed early; now its inputs are complete and nothing stale is left in them.
            () if !was_complete && ready && mixed.is_empty() => "new data",
            () => return None,
        };
        Some(Marks { start: s, end: e, complete: ready && mixed.is_empty(), reason, mixed })
    }
}
