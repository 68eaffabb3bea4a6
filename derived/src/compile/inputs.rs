//! What a definition reads: as the plan says, refined by its author.

use super::Known;
use super::output::Fault;
use crate::bounds::{Bound, Edge, Reach, Span, Step, TimeMap};
use crate::definition::{Definition, InputRule, Need, OnChange};
use crate::document::{Input, InputTime, OutputWindow};
use common::time::{Micros, parse_duration};
use common::value::ValueType;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn all(
    definition: &Definition,
    window: Option<&OutputWindow>,
    reads: &[&Known],
    mut found: BTreeMap<String, (Reach, String)>,
) -> Result<Vec<Input>, Fault> {
    if let Some(name) = definition.inputs.keys().find(|name| !reads.iter().any(|k| k.table.name == **name)) {
        let names: Vec<_> = reads.iter().map(|k| k.table.name.as_str()).collect();
        return Err(("inputs", format!("inputs: the SQL does not read '{name}'; it reads {}", names.join(", "))));
    }
    let of = |known: &&Known| {
        let whole = || (Reach::All, "the table has neither a window nor a unique key: every change computes it anew".to_owned());
        let found = found.remove(&known.table.name).unwrap_or_else(whole);
        input(known, window, definition.inputs.get(&known.table.name), found)
    };
    reads.iter().map(of).collect()
}

fn input(known: &Known, window: Option<&OutputWindow>, rule: Option<&InputRule>, found: (Reach, String)) -> Result<Input, Fault> {
    let time = time(known);
    let (reach, why) = match (rule.filter(|r| r.back.is_some() || r.ahead.is_some()), window) {
        (Some(rule), Some(window)) => declared(known, &time, window, rule)?,
        _ => found,
    };
    let default = if reach.is_bounded() { Need::Complete } else { Need::Latest };
    Ok(Input {
        name: known.table.name.clone(),
        derived: known.derived,
        time,
        need: rule.and_then(|r| r.need).unwrap_or(default),
        on_change: rule.and_then(|r| r.on_change).unwrap_or_default(),
        reach,
        why,
    })
}

fn time(known: &Known) -> Option<InputTime> {
    let column = known.table.time_column.clone()?;
    let part = known.table.key_part(&column).map(|(_, p)| p.codec.ty);
    let ty = part.or_else(|| known.table.column(&column).map(|c| c.ty))?;
    Some(InputTime { date: ty == ValueType::Date, windows: known.windows.clone(), column })
}

/// The author's promise that a window needs no more than this around it.
fn declared(known: &Known, time: &Option<InputTime>, window: &OutputWindow, rule: &InputRule) -> Result<(Reach, String), Fault> {
    let Some(time) = time else {
        return Err(("inputs", format!("inputs: '{}' has no time column, so back and ahead mean nothing: remove them", known.table.name)));
    };
    let micros = |text: &Option<String>| {
        let length = text.as_deref().map_or(Ok(std::time::Duration::ZERO), parse_duration).map_err(|e| ("inputs", e))?;
        i64::try_from(length.as_micros()).map_err(|_| ("inputs", "inputs: back and ahead are at most 290,000 years".to_owned()))
    };
    let bound = |edge, by: i64| {
        let map = if by == 0 { TimeMap::identity() } else { TimeMap(vec![Step::Shift(by)]) };
        Some(Bound { map, ..Bound::plain(edge, time.date && window.date) })
    };
    let (back, ahead) = (micros(&rule.back)?, micros(&rule.ahead)?);
    let span = Span { map: TimeMap::identity(), lower: bound(Edge::Start, -back), upper: bound(Edge::End, ahead) };
    let text = |d: &Option<String>| d.clone().unwrap_or_else(|| "0s".into());
    let why = format!("declared: from {} before the window to {} after it", text(&rule.back), text(&rule.ahead));
    Ok((Reach::Window(vec![span]), why))
}

/// Inputs of a table without windows that is appended to: only new rows of the one that drives it count.
pub(super) fn of_appended(driver: &str, inputs: &mut [Input]) {
    for input in inputs {
        input.reach = Reach::All;
        (input.on_change, input.why) = match input.name == driver {
            true => (OnChange::Exact, "each of its new rows is appended, once".to_owned()),
            false => (OnChange::Ignore, "it is looked up in as it is when a row is appended".to_owned()),
        };
    }
}

/// What an author should know of how inputs are read.
pub(super) fn warnings(window: Option<&OutputWindow>, inputs: &[Input]) -> Vec<String> {
    let Some(window) = window else { return Vec::new() };
    let unbounded = inputs.iter().filter(|i| i.reach == Reach::All && i.on_change == OnChange::Exact);
    let unbounded = unbounded.map(|i| format!("{}: {}; inputs: {{back, ahead}} or on_change: ignore narrow it", i.name, i.why));
    let waiting = inputs.iter().filter(|i| i.reach.is_bounded() && i.need == Need::Complete);
    let waiting = waiting.filter_map(|i| Some((i, longest_wait(window, i)?)));
    let waiting =
        waiting.map(|(i, days)| format!("{}: a window waits up to {days} days for it; choose need: latest if that is too long", i.name));
    unbounded.chain(waiting).collect()
}

/// A table cannot promise to be fresher than what it reads.
pub(super) fn staleness(freshness: Option<Duration>, reads: &[&Known]) -> Vec<String> {
    let Some(promised) = freshness else { return Vec::new() };
    let later = reads.iter().filter_map(|k| Some((&k.table.name, k.freshness.filter(|f| *f > promised)?)));
    let hours = |d: Duration| d.as_secs_f64() / 3600.0;
    later.map(|(name, of)| format!("freshness: {name} may be {} h behind, so {} h cannot be kept", hours(of), hours(promised))).collect()
}

/// Days from the end of a window until an input is complete for it, in the year with the longest wait that is
/// looked at; `None`: at most one.
fn longest_wait(window: &OutputWindow, input: &Input) -> Option<i64> {
    const DAY: i64 = 86_400_000_000;
    let time = input.time.as_ref()?;
    // A year with a leap day, in which windows of all lengths begin on all days of the week.
    let (from, until) = (Micros(1_704_067_200_000_000), Micros(1_735_689_600_000_000));
    let waits = window.windows.iter(from, until).step_by(7).map(|(start, end)| {
        let reads = time.instants(input.reach.reads(&window.windows, start, end)).end;
        let complete = time.windows.as_ref().map_or(reads, |w| w.ceil(reads));
        (complete.0.saturating_sub(end.0) + DAY - 1).div_euclid(DAY)
    });
    waits.max().filter(|days| *days > 1)
}
