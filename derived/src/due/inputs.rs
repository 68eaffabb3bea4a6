//! What one table may expect of its inputs.

use super::{Facts, State};
use crate::definition::{Need, OnChange};
use crate::document::{Artifact, Input, OutputWindow};
use common::schema::Table;
use common::time::{Micros, TimeRange};
use common::version::RangeSet;
use std::collections::BTreeMap;
use std::time::Duration;

/// The inputs of one table at one snapshot.
pub(super) struct Inputs<'a> {
    pub facts: &'a Facts<'a>,
    pub artifact: &'a Artifact,
    /// Of other tables.
    pub states: &'a BTreeMap<String, State>,
    /// Of this table, if it reads itself.
    pub own: Option<State>,
}

impl Inputs<'_> {
    /// Where a derived input stands.
    fn state(&self, name: &str) -> Option<&State> {
        if name == self.artifact.name { self.own.as_ref() } else { self.states.get(name) }
    }

    /// Nothing before this is computed: as declared, or the first window that some input row reaches.
    pub fn start(&self, window: &OutputWindow) -> Option<Micros> {
        let declared = window.start.map(|s| window.windows.floor(s));
        declared.or_else(|| self.artifact.inputs.iter().filter_map(|i| self.first_window(window, i)).min())
    }

    fn first_window(&self, window: &OutputWindow, input: &Input) -> Option<Micros> {
        let time = input.time.as_ref()?;
        let earliest = match self.state(&input.name).and_then(|s| s.start) {
            Some(start) => time.value(start),
            None => *self.facts.earliest.get(&self.facts.catalog.table(&input.name)?.id)?,
        };
        let reached = input.reach.dirty(&window.windows, &RangeSet::of(earliest, Micros(earliest.0.saturating_add(1))));
        let first = reached.ranges().first().map(|r| r.0).filter(|s| *s != Micros::MIN);
        Some(first.unwrap_or_else(|| window.windows.floor(earliest)))
    }

    /// Windows of this table that a set of an input's windows reaches.
    fn reached(&self, input: &Input, windows: &RangeSet) -> RangeSet {
        self.artifact.dirty(input, &input.changes(windows))
    }

    /// Windows that an ancestor's due windows reach, by the name of the input they come through.
    pub fn unsettled(&self) -> impl Iterator<Item = (&str, RangeSet)> {
        self.artifact.inputs.iter().filter_map(|input| {
            let state = self.state(&input.name)?;
            Some((input.name.as_str(), self.reached(input, &state.unsettled)))
        })
    }

    /// Windows that stale rows of ancestors reach, by the ancestor.
    pub fn mixed(&self) -> BTreeMap<String, RangeSet> {
        let mut out: BTreeMap<String, RangeSet> = BTreeMap::new();
        for input in &self.artifact.inputs {
            for (ancestor, windows) in self.state(&input.name).into_iter().flat_map(|s| &s.mixed) {
                let reached = self.reached(input, windows);
                if !reached.is_empty() {
                    let all = out.entry(ancestor.clone()).or_default();
                    *all = all.union(&reached);
                }
            }
        }
        out
    }

    /// What keeps any run of this table from starting.
    pub fn missing(&self) -> Option<String> {
        self.artifact.inputs.iter().find_map(|input| match self.state(&input.name) {
            Some(state) if !state.published && input.need != Need::Complete => Some(format!("{} has no version yet", input.name)),
            None if input.derived => Some(format!("the definition of {} does not decode", input.name)),
            None if self.facts.catalog.table(&input.name).is_none() => Some(format!("table {} does not exist", input.name)),
            _ => None,
        })
    }

    /// A raw input with an open bulk ingest, for which windows wait.
    pub fn ingesting(&self) -> Option<&str> {
        let open = |input: &&Input| {
            let table = self.facts.catalog.table(&input.name);
            input.on_change != OnChange::Ignore && table.is_some_and(|t| self.facts.catalog.ingesting.contains(&t.id))
        };
        self.artifact.inputs.iter().find(open).map(|i| i.name.as_str())
    }

    /// Windows that read what an input no longer holds, by its GC rule: they keep the rows that they have. Only of inputs
    /// that a window reads from some time on.
    pub fn frozen(&self, window: &OutputWindow) -> RangeSet {
        let of_input = |input: &Input| {
            let table = self.facts.catalog.table(&input.name)?;
            let shown = table.families.iter().filter(|f| !f.hidden);
            let age = shown.filter_map(|f| f.gc.max_age()).min()?;
            let kept_from = self.facts.now.before(Duration::from_secs(age));
            let gone = RangeSet::of(Micros::MIN, input.time.as_ref()?.value(kept_from));
            input.reach.is_bounded().then(|| input.reach.dirty(&window.windows, &gone))
        };
        let bounded = self.artifact.inputs.iter().filter_map(of_input).filter(|w| w.ranges().last().is_some_and(|r| r.1 != Micros::MAX));
        bounded.fold(RangeSet::empty(), |all, w| all.union(&w))
    }

    /// The input that does not yet cover what window `[start, end)` reads of it.
    pub fn incomplete(&self, window: &OutputWindow, start: Micros, end: Micros) -> Option<&str> {
        let needed = self.artifact.inputs.iter().filter(|i| i.need == Need::Complete);
        needed.filter(|i| !self.covers(window, i, start, end)).map(|i| i.name.as_str()).next()
    }

    /// Whether an input ends before what window `[start, end)` needs of it: so it does for all later windows, of
    /// which there may be years.
    pub fn end_before(&self, window: &OutputWindow, start: Micros, end: Micros) -> bool {
        let needed = self.artifact.inputs.iter().filter(|i| i.need == Need::Complete);
        needed.filter_map(|i| Some(self.reads(window, i, start, end).end > self.end(i)?)).any(|ends| ends)
    }

    /// The end of what is complete of an input; `None`: it is not complete by time.
    fn end(&self, input: &Input) -> Option<Micros> {
        match self.state(&input.name) {
            Some(state) => input.time.as_ref()?.windows.as_ref().map(|_| state.complete.ranges().last().map_or(Micros::MIN, |r| r.1)),
            None => Some(raw_watermark(self.facts, &input.name).unwrap_or(Micros::MIN)),
        }
    }

    /// What window `[start, end)` needs of an input: event times, or instants if the input is cut in windows.
    fn reads(&self, window: &OutputWindow, input: &Input, start: Micros, end: Micros) -> TimeRange {
        // Of an input without time bound only what lies before the window's end can ever be complete.
        let reads = match input.reach.is_bounded() {
            true => input.reach.reads(&window.windows, start, end),
            false => TimeRange { start: Micros::MIN, end: input.time.as_ref().map_or(end, |t| t.value(end)) },
        };
        input.time.as_ref().map_or(reads, |t| t.instants(reads))
    }

    fn covers(&self, window: &OutputWindow, input: &Input, start: Micros, end: Micros) -> bool {
        let reads = self.reads(window, input, start, end);
        match (self.state(&input.name), &input.time) {
            (Some(state), Some(time)) if time.windows.is_some() => state.complete.covers(reads.start, reads.end),
            (Some(state), _) => state.published,
            (None, _) => raw_watermark(self.facts, &input.name).is_some_and(|w| reads.end <= w),
        }
    }
}

/// The time before which a raw table is complete: what its loader has set, else its lateness behind
/// the clock; none while a bulk ingest is open.
fn raw_watermark(facts: &Facts<'_>, name: &str) -> Option<Micros> {
    let table: &Table = facts.catalog.table(name)?;
    if facts.catalog.ingesting.contains(&table.id) {
        return None;
    }
    let set = facts.catalog.watermarks.get(&table.id).copied();
    Some(set.unwrap_or_else(|| facts.now.before(table.lateness())))
}
