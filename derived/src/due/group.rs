//! Windows to run, joined into runs.

use super::PlannedRun;
use crate::window::Windows;
use common::time::Micros;

/// A window that runs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub start: Micros,
    pub end: Micros,
    pub complete: bool,
    pub reason: &'static str,
    pub mixed: Vec<String>,
}

/// Joins neighbours that run for the same reason, `max` at most, and puts the newest first; every
/// other run is the oldest left, so that a long backfill gets its share.
pub(super) fn runs(windows: &Windows, marks: Vec<Marks>, max: usize, whole: bool) -> Vec<PlannedRun> {
    let mut groups: Vec<(Marks, usize)> = Vec::new();
    for mark in marks {
        match groups.last_mut() {
            Some((last, n)) if *n < max.max(1) && joins(last, &mark) => {
                last.end = mark.end;
                *n += 1;
            }
            _ => groups.push((mark, 1)),
        }
    }
    debug_assert!(groups.iter().all(|(g, _)| windows.floor(g.start) == g.start && windows.floor(g.end) == g.end));
    let mut left: std::collections::VecDeque<_> = groups.into_iter().map(|(g, _)| g).collect();
    let mut out = Vec::with_capacity(left.len());
    while let Some(g) = if out.len() % 2 == 0 { left.pop_back() } else { left.pop_front() } {
        out.push(PlannedRun {
            range: Some((g.start, g.end)),
            whole,
            complete: g.complete,
            reason: g.reason,
            mixed_with: g.mixed,
            run_time: None,
        });
    }
    out
}

fn joins(a: &Marks, b: &Marks) -> bool {
    a.end == b.start && a.complete == b.complete && a.reason == b.reason && a.mixed == b.mixed
}
