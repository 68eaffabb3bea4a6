//! What it costs to validate a project of many derived tables: the `stele` binary on a synthetic DAG, as a user runs it.

use super::dag::{Dag, definition, median, path};
use crate::machine;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Cold runs; the median counts.
const ROUNDS: usize = 5;
/// Edits under `validate --watch`.
const EDITS: usize = 10;
/// CPU-seconds and MiB of a cold validation a 1,000 tables.
const COLD_CPU: f64 = 1.5;
const COLD_MIB: f64 = 200.0;
/// CPU-seconds after one edit that keeps the output schema.
const EDIT_CPU: f64 = 0.1;

/// Writes the project, measures and reports.
///
/// # Errors
/// If the project does not validate, and a missed bar.
pub fn run(dir: &Path, stele: &Path, dag: &Path) -> Result<()> {
    let dag = Dag::read(dag)?;
    dag.write(dir)?;
    println!("{}\n{} tables", machine::describe(), dag.models.len());
    let scale = (dag.models.len() as f64 / 1000.0).max(1.0);
    let cold = cold(dir, stele)?;
    println!("validate, cold: {:.2} CPU-s (bar ≤ {:.1}), {:.0} MiB", cold.0, COLD_CPU * scale, cold.1);
    let edit = edits(dir, stele, &dag)?;
    println!("after an edit that keeps the schema: {edit:.3} CPU-s (bar ≤ {EDIT_CPU})");
    ensure!(cold.0 <= COLD_CPU * scale * 1.1 && edit <= EDIT_CPU * 1.1, "a bar is missed");
    ensure!(scale > 1.0 || cold.1 <= COLD_MIB * 1.1, "the bar of memory is missed: {COLD_MIB} MiB");
    Ok(())
}

/// CPU-seconds and peak MiB of a validation by a new process, each the median.
fn cold(dir: &Path, stele: &Path) -> Result<(f64, f64)> {
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = machine::children_ticks();
        let mut child = command(stele, dir).stdout(Stdio::null()).spawn().context("start stele")?;
        let mut peak = 0;
        let status = loop {
            peak = peak.max(machine::peak_kib(child.id()));
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        ensure!(status.success(), "the project does not validate");
        cpu.push((machine::children_ticks() - before) as f64 / 100.0);
        memory.push(peak as f64 / 1024.0);
    }
    Ok((median(cpu), median(memory)))
}

fn command(stele: &Path, dir: &Path) -> Command {
    let mut command = Command::new(stele);
    command.args(["derived", "validate"]).arg(dir);
    command
}

/// CPU-seconds an edit of a process that watches.
fn edits(dir: &Path, stele: &Path, dag: &Dag) -> Result<f64> {
    let mut child = command(stele, dir).arg("--watch").stdout(Stdio::piped()).spawn().context("start stele")?;
    let measured = watched(&mut child, dir, dag);
    // It has ended already if it failed.
    let _ = child.kill();
    child.wait()?;
    measured
}

fn watched(child: &mut Child, dir: &Path, dag: &Dag) -> Result<f64> {
    let mut lines = BufReader::new(child.stdout.take().context("stele has no output")?);
    until_done(&mut lines)?;
    let model = &dag.models[dag.models.len() / 2];
    let mut cpu = Vec::new();
    for edit in 1..=EDITS {
        let before = machine::ticks_of(child.id());
        // Whole or not at all, as editors do.
        std::fs::write(dir.join("edit"), definition(model, edit))?;
        std::fs::rename(dir.join("edit"), path(dir, model))?;
        let anew = until_done(&mut lines)?;
        ensure!(anew.contains("(1 compiled anew"), "one edit compiled more than one table: {anew}");
        cpu.push((machine::ticks_of(child.id()) - before) as f64 / 100.0);
    }
    Ok(cpu.iter().sum::<f64>() / cpu.len() as f64)
}

/// Reads to the line that ends one validation, and gives it.
fn until_done(lines: &mut BufReader<ChildStdout>) -> Result<String> {
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            bail!("stele ended");
        }
        if line.contains("compiled anew") {
            return Ok(line);
        }
        ensure!(!line.starts_with("error"), "{line}");
    }
}
