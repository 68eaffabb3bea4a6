//! What it costs to build two days of a DAG of derived tables, beside the same statements straight on DuckDB: CPU-seconds of the
//! whole server against those of the bare database, and the same rows, table by table.

use super::dag::Dag;
use crate::machine;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Times the CPU of the bare database that building a day may cost.
const BAR: f64 = 2.0;
/// Of one core, with nothing to do.
const IDLE_BAR: f64 = 0.02;
/// How long idling is measured.
const IDLE: Duration = Duration::from_secs(60);
/// Tables compared by one query.
const AT_ONCE: usize = 50;
/// Events of a day, as the floor has them.
const EVENTS: u32 = 2_000;

/// What to measure with what.
#[derive(Debug)]
pub struct Means {
    /// A release build of the `stele` binary.
    pub stele: PathBuf,
    /// The harness that makes the DAG and runs it on bare DuckDB.
    pub peers: PathBuf,
    /// A Python that has DuckDB.
    pub python: PathBuf,
    /// How many tables.
    pub tables: usize,
}

#[derive(Debug, Deserialize)]
struct Floor {
    phases: Vec<Phase>,
}

#[derive(Debug, Deserialize)]
struct Phase {
    phase: String,
    cpu_s: f64,
    peak_rss_mb: f64,
}

impl Floor {
    fn run(dir: &Path, means: &Means) -> Result<Self> {
        let n = means.tables.to_string();
        let mut bench = Command::new("python3");
        bench.arg(&means.peers).args(["bench", "--engine", "floor", "--n", &n, "--work"]).arg(dir).arg("--python").arg(&means.python);
        let done = bench.stdout(Stdio::null()).status().context("run the floor")?;
        ensure!(done.success(), "the floor failed");
        let text = std::fs::read_to_string(dir.join(format!("result_floor_n{n}.json"))).context("read what the floor measured")?;
        Ok(serde_json::from_str(&text)?)
    }

    fn of(&self, day: usize) -> Result<&Phase> {
        let name = format!("run_day{day}");
        self.phases.iter().find(|p| p.phase == name).with_context(|| format!("the floor has no {name}"))
    }
}

/// A server of its own, killed when dropped.
struct Server {
    process: Child,
    url: String,
    stele: PathBuf,
}

impl Server {
    fn start(stele: &Path, dir: &Path) -> Result<Self> {
        let mut command = Command::new(stele);
        command.args(["up", "--listen", "127.0.0.1:0", "--dir"]).arg(dir).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().context("start stele")?;
        let mut lines = BufReader::new(process.stdout.take().context("stele has no output")?).lines();
        let url = loop {
            let Some(line) = lines.next() else { bail!("stele ended") };
            if let Some((_, rest)) = line?.split_once("http://") {
                break format!("http://{}", rest.split('/').next().unwrap_or_default());
            }
        };
        // Read on, so that it never waits for somebody to.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { process, url, stele: stele.to_owned() })
    }

    fn cpu(&self) -> f64 {
        machine::ticks_of(self.process.id()) as f64 / 100.0
    }

    fn do_(&self, arguments: &[&str]) -> Result<String> {
        let done = Command::new(&self.stele).args(arguments).args(["--url", &self.url]).output()?;
        ensure!(done.status.success(), "stele {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8(done.stdout)?)
    }

    /// Loads a day and waits until all tables have it; the CPU-seconds and the time.
    fn build(&self, file: &Path, day: u32) -> Result<(f64, Duration)> {
        let (cpu, begun) = (self.cpu(), Instant::now());
        self.do_(&["ingest", "raw.events", &file.display().to_string(), "--complete-until", &format!("2024-01-{:02}T00:00:00Z", day + 1)])?;
        self.do_(&["derived", "status", "--wait"])?;
        Ok((self.cpu() - cpu, begun.elapsed()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The events of a day, as the floor makes them.
fn events(day: u32) -> String {
    let mut out = String::from("event_id,ts,user_id,kind,amount\n");
    for i in 0..EVENTS {
        let (hour, minute, second) = (i / 3600, i / 60 % 60, i % 60);
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{i},2024-01-{day:02}T{hour:02}:{minute:02}:{second:02}Z,{},{},{}",
            i * 7919 % 5003,
            i * 31 % 8,
            u64::from(i) * 104_729 % 9973
        );
    }
    out
}

/// Builds both days on both, compares and reports.
///
/// # Errors
/// If rows differ, and a missed bar.
pub fn run(dir: &Path, means: &Means) -> Result<()> {
    let floor = Floor::run(&dir.join("floor"), means)?;
    let floor_dir = dir.join(format!("floor/floor_n{}", means.tables));
    let dag = Dag::read(&floor_dir.join("dag.json"))?;
    let project = dir.join("project");
    dag.write(&project)?;
    println!("{}\n{} tables", machine::describe(), dag.models.len());
    let server = Server::start(&means.stele, &dir.join("data"))?;
    server.do_(&["derived", "apply", &project.display().to_string(), "--yes"])?;
    let mut missed = false;
    for day in 1..=2 {
        let file = dir.join(format!("day{day}.csv"));
        std::fs::write(&file, events(day))?;
        let (cpu, time) = server.build(&file, day)?;
        let bare = floor.of(day as usize)?;
        let ratio = cpu / bare.cpu_s;
        println!(
            "day {day}: {cpu:.1} CPU-s in {:.1} s; DuckDB {:.1} CPU-s; {ratio:.2} times (bar ≤ {BAR})",
            time.as_secs_f64(),
            bare.cpu_s
        );
        missed |= ratio > BAR * 1.1;
    }
    let (peak, most) = (machine::peak_kib(server.process.id()) as f64 / 1024.0, floor.of(2)?.peak_rss_mb);
    println!("peak memory: {peak:.0} MiB; DuckDB {most:.0} MB");
    let idle = idle(&server);
    println!("idle: {:.2} % of a core (bar ≤ {:.0})", idle * 100.0, IDLE_BAR * 100.0);
    compare(&server, &floor_dir)?;
    ensure!(!missed && idle <= IDLE_BAR * 1.1, "a bar is missed");
    Ok(())
}

fn idle(server: &Server) -> f64 {
    let before = server.cpu();
    std::thread::sleep(IDLE);
    (server.cpu() - before) / IDLE.as_secs_f64()
}

/// Holds rows, days and a checksum of each table against the floor's.
fn compare(server: &Server, floor: &Path) -> Result<()> {
    let checks = std::fs::read_to_string(floor.join("checks.json")).context("read the floor's checksums")?;
    let mut wanted: BTreeMap<String, (i64, i64, Option<String>)> = serde_json::from_str(&checks)?;
    let all = wanted.len();
    let names: Vec<_> = wanted.keys().cloned().collect();
    for names in names.chunks(AT_ONCE) {
        let one = |name: &String| {
            format!(
                "select '{name}' as name, count(*) as n, count(distinct ds) as days, sum(k * 7 + c * 13 + v * 17) as sum from bench.{name}"
            )
        };
        let found = server.do_(&["sql", &names.iter().map(one).collect::<Vec<_>>().join(" union all "), "--format", "ndjson"])?;
        for line in found.lines() {
            let row: serde_json::Value = serde_json::from_str(line)?;
            let name = row["name"].as_str().unwrap_or_default();
            let sum = row.get("sum").filter(|s| !s.is_null()).map(|s| s.to_string().trim_matches('"').to_owned());
            let got = (row["n"].as_i64().unwrap_or(-1), row["days"].as_i64().unwrap_or(-1), sum);
            let want = wanted.remove(name).with_context(|| format!("{name} twice"))?;
            ensure!(got == want, "{name} differs: {got:?}, DuckDB {want:?}");
        }
    }
    ensure!(wanted.is_empty(), "without an answer: {:?}", wanted.keys());
    println!("{all} tables have the same rows");
    Ok(())
}
