//! R(w): which event times of an input the window `w` of a table reads, and from that both which
//! windows a change dirties and what a run has to read.
//!
//! Event times are the values of the input's time column in µs, a date as its midnight without a zone.

use super::time_map::TimeMap;
use crate::window::Windows;
use common::time::{Micros, TimeRange};
use common::version::RangeSet;
use serde::{Deserialize, Serialize};

/// An end of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// `window.start`.
    Start,
    /// `window.end`.
    End,
}

/// A time that follows a window: one of its ends, through `map`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bound {
    /// Which end.
    pub edge: Edge,
    /// What the zone's clock shows at it, not the instant: for outputs whose time column is a date.
    #[serde(default)]
    pub local: bool,
    /// Applied to it.
    #[serde(default)]
    pub map: TimeMap,
    /// The bound is 1 µs later: it is included from above, or excluded from below.
    #[serde(default)]
    pub after: bool,
}

impl Bound {
    /// The plain end of a window.
    #[must_use]
    pub fn plain(edge: Edge, local: bool) -> Self {
        Self { edge, local, map: TimeMap::identity(), after: false }
    }

    fn at(&self, windows: &Windows, (start, end): (Micros, Micros)) -> Micros {
        let base = if self.edge == Edge::Start { start } else { end };
        let value = self.map.apply(if self.local { windows.local(base) } else { base });
        if self.after { Micros(value.0.saturating_add(1)) } else { value }
    }
}

/// Window `w` reads the event times `t` with `lower(w) ≤ map(t) < upper(w)`; an absent bound is unbounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// From event time to the compared time.
    #[serde(default)]
    pub map: TimeMap,
    /// Inclusive.
    pub lower: Option<Bound>,
    /// Exclusive.
    pub upper: Option<Bound>,
}

/// R(w) of one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Only event times in one of these.
    Window(Vec<Span>),
    /// All of it, but a query leads from its changed rows to the windows, or without windows to the row keys, that they
    /// reach (see [`crate::touched`]).
    Keys,
    /// All of it: any change rebuilds all windows.
    All,
}

/// Windows looked at from one change before it counts as reaching everything.
const MAX_STEPS: usize = 10_000;

impl Span {
    /// Window `w` reads what `map` puts into `w`.
    #[must_use]
    pub fn window(map: TimeMap, local: bool) -> Self {
        Self { map, lower: Some(Bound::plain(Edge::Start, local)), upper: Some(Bound::plain(Edge::End, local)) }
    }

    fn reads(&self, windows: &Windows, first: (Micros, Micros), last: (Micros, Micros)) -> TimeRange {
        let lower = self.lower.as_ref().map_or(Micros::MIN, |b| self.map.first_at_or_after(b.at(windows, first)));
        let upper = self.upper.as_ref().map_or(Micros::MAX, |b| self.map.first_at_or_after(b.at(windows, last)));
        TimeRange { start: lower, end: upper }
    }

    /// Windows that read some event time of `[from, to)`.
    fn dirty(&self, windows: &Windows, from: Micros, to: Micros) -> (Micros, Micros) {
        let (low, high) = (self.map.apply(from), self.map.apply(Micros(to.0.saturating_sub(1))));
        let first = match &self.upper {
            Some(upper) if from != Micros::MIN => first_window(windows, low, |w| upper.at(windows, w) > low),
            _ => Some(Micros::MIN),
        };
        let end = match &self.lower {
            Some(lower) if to != Micros::MAX => first_window(windows, high, |w| lower.at(windows, w) > high),
            _ => Some(Micros::MAX),
        };
        match (first, end) {
            (Some(first), Some(end)) => (first, end),
            _ => (Micros::MIN, Micros::MAX),
        }
    }
}

/// The start of the first window for which `holds`, which is false before some window and true from it on.
fn first_window(windows: &Windows, near: Micros, holds: impl Fn((Micros, Micros)) -> bool) -> Option<Micros> {
    let at = |t: Micros| (windows.floor(t), windows.next(t));
    let mut window = at(near);
    let holds_at_first = holds(window);
    for _ in 0..MAX_STEPS {
        let beside = if holds_at_first { at(Micros(window.0.0 - 1)) } else { at(window.1) };
        if beside.0 == window.0 {
            return None;
        }
        match (holds_at_first, holds(beside)) {
            (true, false) => return Some(window.0),
            (false, true) => return Some(beside.0),
            _ => window = beside,
        }
    }
    None
}

impl Reach {
    /// Whether the input is bounded in time.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        matches!(self, Self::Window(_))
    }

    /// The windows that changes at these event times make dirty, as far as event times tell.
    #[must_use]
    pub fn dirty(&self, windows: &Windows, changed: &RangeSet) -> RangeSet {
        match self {
            _ if changed.is_empty() => RangeSet::empty(),
            Self::Keys | Self::All => RangeSet::all(),
            Self::Window(spans) => {
                spans.iter().flat_map(|s| changed.ranges().iter().map(|&(from, to)| s.dirty(windows, from, to))).collect()
            }
        }
    }

    /// The event times that the windows of `[start, end)` read, as one range; both are window starts.
    #[must_use]
    pub fn reads(&self, windows: &Windows, start: Micros, end: Micros) -> TimeRange {
        let Self::Window(spans) = self else { return TimeRange::ALL };
        let first = (start, windows.next(start));
        let last = (windows.floor(Micros(end.0.saturating_sub(1))), end);
        let all = spans.iter().map(|s| s.reads(windows, first, last)).filter(|r| !r.is_empty());
        all.reduce(|a, b| TimeRange { start: a.start.min(b.start), end: a.end.max(b.end) }).unwrap_or(TimeRange { start, end: start })
    }
}

#[cfg(test)]
mod tests {
    use super::super::time_map::{Step, Unit};
    use super::*;
    use crate::window::WindowSpec;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000_000;

    fn windows(every: &str, zone: &str) -> Windows {
        WindowSpec { every: every.into(), zone: zone.into() }.try_into().unwrap()
    }

    fn bound(edge: Edge, shift: i64) -> Option<Bound> {
        Some(Bound { map: TimeMap(vec![Step::Shift(shift)]), ..Bound::plain(edge, false) })
    }

    fn spans() -> impl Strategy<Value = Span> {
        let maps = prop::sample::select(vec![
            TimeMap::identity(),
            TimeMap(vec![Step::Trunc(Unit::Day)]),
            TimeMap(vec![Step::Trunc(Unit::Hour), Step::Shift(HOUR)]),
            TimeMap(vec![Step::Trunc(Unit::Week)]),
        ]);
        let local = (maps.clone(), any::<bool>()).prop_map(|(map, local)| Span::window(map, local));
        let shifted = (maps, 0i64..80, 0i64..80).prop_map(|(map, back, ahead)| Span {
            map,
            lower: bound(Edge::Start, -back * HOUR),
            upper: bound(Edge::End, ahead * HOUR),
        });
        prop_oneof![local, shifted]
    }

    proptest! {
        #[test]
        fn a_window_is_dirty_exactly_when_it_reads_the_change(
            span in spans(), every in prop::sample::select(vec!["hour", "day", "week"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin"]), t in 1_711_000_000i64..1_713_000_000,
        ) {
            let (w, t) = (windows(every, zone), Micros(t * 1_000_000));
            let reach = Reach::Window(vec![span.clone()]);
            let dirty = reach.dirty(&w, &RangeSet::of(t, Micros(t.0 + 1)));
            for (start, end) in w.iter(Micros(t.0 - 200 * HOUR), Micros(t.0 + 200 * HOUR)) {
                let value = span.map.apply(t);
                let read = span.lower.as_ref().unwrap().at(&w, (start, end)) <= value && value < span.upper.as_ref().unwrap().at(&w, (start, end));
                prop_assert_eq!(dirty.covers(start, end), read);
                prop_assert_eq!(dirty.meets(start, end), read);
                prop_assert_eq!(reach.reads(&w, start, end).contains(t), read);
            }
        }
    }

    #[test]
    fn an_input_without_time_bound_reaches_all_windows() {
        let w = windows("day", "UTC");
        assert_eq!(Reach::All.dirty(&w, &RangeSet::of(Micros(0), Micros(1))), RangeSet::all());
        assert_eq!(Reach::All.dirty(&w, &RangeSet::empty()), RangeSet::empty());
        assert_eq!(Reach::All.reads(&w, Micros(0), Micros(1)), TimeRange::ALL);
    }

    #[test]
    fn a_change_of_unknown_extent_reaches_unbounded_windows() {
        let reach = Reach::Window(vec![Span::window(TimeMap::identity(), false)]);
        assert_eq!(reach.dirty(&windows("day", "UTC"), &RangeSet::all()), RangeSet::all());
    }
}
