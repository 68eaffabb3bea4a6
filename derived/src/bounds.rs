//! What a window reads of each input, found in the plan.
//!
//! A table that means its SQL over the whole of its inputs reads, for the rows of one window, what is
//! mapped into that window if the output's time column follows straight from the input's: through
//! columns, truncations, projections, filters, groups, joins and unions. A `per_window` table reads what
//! its filters on window ends leave. Whatever is not found is read in full: right, but slower.

mod expr;
mod facts;
mod plan;
mod reach;
mod time_map;

pub use reach::{Bound, Edge, Reach, Span};
pub use time_map::{Step, TimeMap, Unit};

pub(crate) use facts::unnamed;
pub(crate) use plan::{END_FUNCTION, START_FUNCTION};

use datafusion::logical_expr::LogicalPlan;
use facts::column_at;
use plan::Walk;
use std::collections::BTreeMap;

/// What to look for in a plan.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The analyzed plan.
    pub plan: &'a LogicalPlan,
    /// The time column of each input that has one.
    pub times: &'a BTreeMap<&'a str, &'a str>,
    /// The position of the time column among the plan's columns.
    pub time_column: usize,
    /// It is a date.
    pub date: bool,
    /// The SQL filters by window ends itself.
    pub per_window: bool,
}

/// R(w) of each input that the plan reads, with the reason, for people.
pub(crate) fn reaches(question: &Question<'_>) -> BTreeMap<String, (Reach, String)> {
    let mut walk = Walk { times: question.times, scans: Vec::new() };
    let facts = walk.facts(question.plan);
    let schema = question.plan.schema();
    let traced = facts.trace(&column_at(schema, question.time_column), schema);
    let mut out: BTreeMap<String, (Reach, String)> = BTreeMap::new();
    for (id, scan) in walk.scans.iter().enumerate() {
        let span = match question.per_window {
            true => scan.span(),
            false => traced.iter().find(|(s, _)| *s == id).map(|(_, map)| Span::window(map.clone(), question.date)),
        };
        let found = match (span, question.times.contains_key(scan.table.as_str())) {
            (Some(span), _) if question.per_window => (Reach::Window(vec![span]), "its time is filtered by the window's ends".to_owned()),
            (Some(span), _) => (Reach::Window(vec![span]), "the time column follows straight from its time".to_owned()),
            (None, false) => (Reach::All, "it has no time column: every change reaches all windows".to_owned()),
            (None, true) if question.per_window => {
                (Reach::All, "no filter compares its time with the window's ends: every change reaches all windows".to_owned())
            }
            (None, true) => {
                (Reach::All, "the time column does not follow straight from its time: every change reaches all windows".to_owned())
            }
        };
        match out.get_mut(&scan.table) {
            None => {
                out.insert(scan.table.clone(), found);
            }
            Some((known, why)) => match (known, found) {
                (Reach::Window(spans), (Reach::Window(more), _)) => {
                    spans.extend(more.into_iter().filter(|s| !spans.contains(s)).collect::<Vec<_>>())
                }
                (Reach::All, _) => {}
                (known, (_, all)) => {
                    *known = Reach::All;
                    *why = all;
                }
            },
        }
    }
    out
}
