//! A compiled definition in words: what it reads of each input and why, and how its rows get in.

use crate::bounds::{Edge, Reach, Span, Step};
use crate::definition::{Late, Need, OnChange};
use crate::document::{Artifact, Input, Strategy};
use crate::window::WindowSpec;
use std::fmt::Write as _;

/// The explanation, one fact a line.
#[must_use]
pub fn explain(artifact: &Artifact) -> String {
    let mut out = format!("{} ({})\n", artifact.name, artifact.file);
    let mut line = |what: &str, text: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {what:<9} {text}");
    };
    line(
        "strategy",
        match &artifact.driver {
            Some(driver) => format!("append: each new row of {driver} gives its rows, once"),
            None => strategy(&artifact.strategy),
        },
    );
    line("window", window(artifact));
    line("key", key(artifact));
    if let Some(schedule) = &artifact.timing.schedule {
        let due = if artifact.uses_run_time { "; each makes it due" } else { "" };
        line("schedule", format!("due work starts at {} in {}{due}", schedule.text, schedule.zone));
    }
    for input in &artifact.inputs {
        line("reads", format!("{}: {}", input.name, reads(input)));
    }
    for test in &artifact.tests {
        line("test", test.to_string());
    }
    for warning in &artifact.warnings {
        line("warning", warning.clone());
    }
    line("plan", artifact.fingerprint.chars().take(12).collect());
    out
}

fn strategy(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Replace => "replace: what is computed is swapped".into(),
        Strategy::Append { late: Late::Repair } => {
            "append: a window is first written when it is complete, and swapped when late rows come".into()
        }
        Strategy::Append { late: Late::Ignore } => "append: a window is written once, when it is complete; late rows are left out".into(),
        Strategy::Merge(rules) => {
            let columns: Vec<_> = rules.columns.iter().map(|c| format!("{}: {:?}", c.name, c.rule).to_lowercase()).collect();
            format!("merge by {}: {}", rules.key.join(", "), columns.join(", "))
        }
    }
}

fn window(artifact: &Artifact) -> String {
    let Some(w) = &artifact.window else {
        return match artifact.follows_rows() {
            _ if artifact.driver.is_some() => "none: rows are appended as they come".into(),
            true => "none: it is computed by key, whole only at first and after many changes".into(),
            false => "none: it is computed whole at every change".into(),
        };
    };
    let spec = WindowSpec::from(w.windows.clone());
    let start = w.start.map_or_else(|| "the earliest input row".to_owned(), |s| s.to_string());
    let meaning = if w.per_window { "the union of its windows" } else { "its SQL over the whole" };
    format!("every {} in {} by {}, from {start}; it means {meaning}", spec.every, spec.zone, w.time_column)
}

fn key(artifact: &Artifact) -> String {
    let parts: Vec<_> = artifact.spec.key.iter().map(|p| format!("{}{}", p.name, if p.descending { " desc" } else { "" })).collect();
    match artifact.unique.as_slice() {
        [] => format!("{} (rows that are alike stay)", parts.join(", ")),
        unique => format!("{}; unique by {}", parts.join(", "), unique.join(", ")),
    }
}

fn reads(input: &Input) -> String {
    let need = match input.need {
        Need::Complete => "waits until that is complete",
        Need::Latest => "takes its latest version",
        Need::LastComplete => "takes its last complete state",
    };
    let changes = match input.on_change {
        OnChange::Exact => "",
        OnChange::Ignore => "; its changes make nothing due",
    };
    format!("{}, as {}; {need}{changes}", reach(input), input.why)
}

fn reach(input: &Input) -> String {
    let time = input.time.as_ref().map_or("its time", |t| t.column.as_str());
    match &input.reach {
        Reach::Keys | Reach::All => "all of it".into(),
        Reach::Window(spans) => spans.iter().map(|s| span(time, s)).collect::<Vec<_>>().join(" or "),
    }
}

fn span(time: &str, span: &Span) -> String {
    let steps = |name: String, steps: &[Step]| steps.iter().fold(name, step);
    let bound = |b: &crate::bounds::Bound| steps(if b.edge == Edge::Start { "start".into() } else { "end".into() }, &b.map.0);
    let value = steps(time.to_owned(), &span.map.0);
    let lower = span.lower.as_ref().map(|b| format!("{value} {} {}", if b.after { ">" } else { "≥" }, bound(b)));
    let upper = span.upper.as_ref().map(|b| format!("{value} {} {}", if b.after { "≤" } else { "<" }, bound(b)));
    lower.into_iter().chain(upper).collect::<Vec<_>>().join(" and ")
}

fn step(of: String, step: &Step) -> String {
    match step {
        Step::Trunc(unit) => format!("{}({of})", format!("{unit:?}").to_lowercase()),
        Step::Bin { stride, .. } => format!("bin({of}, {}s)", *stride as f64 / 1e6),
        Step::Shift(by) if *by < 0 => format!("{of} - {}s", by.unsigned_abs() as f64 / 1e6),
        Step::Shift(by) => format!("{of} + {}s", *by as f64 / 1e6),
    }
}
