//! `test --bounds`: the author's promise that a window needs no more of an input than `back` and `ahead` around it.

use super::{Outcome, made_by, rehearsal, report};
use crate::derived::offline::Loaded;
use anyhow::{Result, anyhow};
use common::time::Micros;
use derived::Artifact;
use derived::bounds::Reach;
use derived::unit_test::UnitTest;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

/// Computes windows of tested tables twice: from what they say that they read, and from all there is.
pub async fn run(loaded: &Loaded, tests: &[UnitTest], samples: usize, as_json: bool) -> Result<ExitCode> {
    let mut outcomes = Vec::new();
    for test in tests {
        let artifact = loaded.artifact(&test.words.table)?;
        if artifact.window.is_none() || !artifact.inputs.iter().any(|i| i.reach.is_bounded()) {
            continue;
        }
        let faults = match one(loaded, artifact, test, samples).await {
            Ok(faults) => faults,
            Err(e) => format!("{e:#}\n"),
        };
        outcomes.push(Outcome { file: test.file.clone(), table: test.words.table.clone(), faults });
    }
    if outcomes.is_empty() && !as_json {
        println!("no tested table has windows and bounded inputs");
    }
    report(&outcomes, as_json)
}

async fn one(loaded: &Loaded, artifact: &Artifact, test: &UnitTest, samples: usize) -> Result<String> {
    let (table, rehearsal) = (Arc::new(made_by(artifact)?), rehearsal(loaded, artifact, test)?);
    let key: Vec<String> = table.key.iter().filter(|p| !p.hidden).map(|p| p.name.clone()).collect();
    let mut faults = String::new();
    for window in windows(artifact, test, samples) {
        let compute = async |narrowed| rehearsal.compute(artifact, &table, Some(window), narrowed).await.map_err(|e| anyhow!("{e}"));
        let (whole, narrowed) = (compute(false).await?, compute(true).await?);
        let found = super::diff::diff(&key, whole, narrowed);
        if !found.is_empty() {
            faults.push_str(&format!(
                "window {} to {} is other from {} than from all there is:\n{found}",
                window.0,
                window.1,
                declared(artifact)
            ));
        }
    }
    Ok(faults)
}

/// The bounds of inputs, for people.
fn declared(artifact: &Artifact) -> String {
    let bounded = artifact.inputs.iter().filter(|i| matches!(i.reach, Reach::Window(_)));
    bounded.map(|i| format!("{} ({})", i.name, i.why)).collect::<Vec<_>>().join(", ")
}

/// The windows in which rows of the test's inputs lie, with their neighbours; evenly thinned out to `samples`.
fn windows(artifact: &Artifact, test: &UnitTest, samples: usize) -> Vec<(Micros, Micros)> {
    let Some(window) = &artifact.window else { return Vec::new() };
    let mut found = BTreeSet::new();
    for (name, rows) in &test.words.inputs {
        let Some(time) = artifact.input(name).and_then(|i| i.time.as_ref()) else { continue };
        for at in rows.iter().filter_map(|row| Micros::parse(row.get(&time.column)?.as_str()?).ok()) {
            let start = window.windows.floor(at);
            let end = window.windows.ceil(Micros(start.0 + 1));
            let before = window.windows.floor(Micros(start.0 - 1));
            found.extend([(before, start), (start, end), (end, window.windows.ceil(Micros(end.0 + 1)))]);
        }
    }
    let step = found.len().div_ceil(samples.max(1)).max(1);
    found.into_iter().step_by(step).collect()
}
