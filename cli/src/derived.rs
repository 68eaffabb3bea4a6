//! `stele derived`.

use crate::client::{Client, Unreachable, UrlArgs};
use crate::print::{self, Grid};
use crate::project::{Definitions, Project};
use crate::sql;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use common::time::Micros;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One request of a wait for freshness answers after this time at the latest, so that progress can be shown.
const STATUS_WAIT: Duration = Duration::from_millis(500);
/// For the run log to tell of a published run.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// What to do with derived tables.
#[derive(Debug, Subcommand)]
pub enum DerivedCommand {
    /// Check all definitions of a folder against the tables there are; nothing is changed.
    Validate {
        /// A project's folder, or its `derived` folder.
        #[arg(default_value = ".")]
        dir: PathBuf,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Apply all definitions of a folder, or none if one is wrong.
    Apply {
        /// A project's folder, or its `derived` folder.
        #[arg(default_value = ".")]
        dir: PathBuf,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Show where derived tables stand.
    Status {
        /// dataset.name; none: all.
        tables: Vec<String>,
        /// Wait until they are fresh; fail if one cannot be.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Show the newest runs.
    Runs {
        /// dataset.name
        table: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Compute a table anew, or some of its times.
    Run {
        /// dataset.name
        table: String,
        /// From here on [default: the beginning].
        #[arg(long, value_parser = Micros::parse, value_name = "TIME")]
        from: Option<Micros>,
        /// Before this [default: the end].
        #[arg(long, value_parser = Micros::parse, value_name = "TIME")]
        to: Option<Micros>,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Let a table rest: its last good version serves.
    Pause {
        /// dataset.name
        table: String,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// End a table's rest.
    Resume {
        /// dataset.name
        table: String,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// Where all derived tables stand.
#[derive(Clone, Debug, Deserialize)]
struct Status {
    /// Nothing goes on by itself: what is due rests, or has failed for good.
    settled: bool,
    tables: Vec<TableStatus>,
}

/// Where one stands.
#[derive(Clone, Debug, Deserialize)]
struct TableStatus {
    table: String,
    /// `fresh`, `due`, `waiting`, `running`, `failed`, `paused` or `broken`.
    state: String,
    version: u64,
    #[serde(default)]
    watermark: Option<String>,
    #[serde(default)]
    waits: Vec<Wait>,
    #[serde(default)]
    failures: Vec<Failure>,
    #[serde(default)]
    last_run: Option<LastRun>,
    #[serde(default)]
    broken: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Wait {
    why: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Failure {
    error: String,
}

#[derive(Clone, Debug, Deserialize)]
struct LastRun {
    run: u64,
}

impl TableStatus {
    /// Why it is not fresh, if there is more to say than its state.
    fn why(&self) -> Option<&str> {
        let failed = self.failures.first().map(|f| f.error.as_str());
        self.broken.as_deref().or(failed).or_else(|| self.waits.first().map(|w| w.why.as_str()))
    }
}

#[derive(Debug, Deserialize)]
struct Tables<T> {
    tables: Vec<T>,
}

/// What the gateway found in one definition.
#[derive(Debug, Deserialize)]
struct Finding {
    name: String,
    /// `created`, `changed`, `updated` or `unchanged`.
    status: String,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Does it.
pub async fn run(command: DerivedCommand) -> Result<ExitCode> {
    match command {
        DerivedCommand::Validate { dir, url } => {
            let definitions = Project::folder(&dir)?.definitions()?;
            match send(&Client::new(&url.url)?, "validate", &definitions).await {
                Ok(found) => report(&found, "valid, apply: "),
                Err(e) if e.is::<Unreachable>() => validate_alone(definitions, &url.url).await?,
                Err(e) => return Err(e),
            }
        }
        DerivedCommand::Apply { dir, url } => {
            let found = send(&Client::new(&url.url)?, "apply", &Project::folder(&dir)?.definitions()?).await?;
            report(&found, "");
        }
        DerivedCommand::Status { tables, wait, url } => return show_status(&Client::new(&url.url)?, &tables, wait).await,
        DerivedCommand::Runs { table, limit, url } => runs(&Client::new(&url.url)?, table.as_deref(), limit).await?,
        DerivedCommand::Run { table, from, to, url } => {
            let range = json!({ "from": from.map(Micros::to_rfc3339), "to": to.map(Micros::to_rfc3339) });
            order(&url, &table, "run", &range, "is due again").await?;
        }
        DerivedCommand::Pause { table, url } => order(&url, &table, "pause", &json!({}), "rests").await?,
        DerivedCommand::Resume { table, url } => order(&url, &table, "resume", &json!({}), "runs again").await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Applies definitions; gives the names of their tables.
pub async fn apply(client: &Client, files: &Definitions) -> Result<Vec<String>> {
    Ok(send(client, "apply", files).await?.into_iter().map(|t| t.name).collect())
}

/// Waits until these tables (none: all) are fresh, everything sent before included, and the run log tells it. A
/// sentence if one cannot be.
pub async fn wait_fresh(client: &Client, tables: &[String]) -> Result<Option<String>> {
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("  {spinner} {msg}  {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(120));
    loop {
        let status = status(client, tables, Some(STATUS_WAIT)).await?;
        let not_fresh: Vec<_> = status.tables.iter().filter(|t| t.state != "fresh").collect();
        let Some(first) = not_fresh.first() else {
            bar.finish_and_clear();
            return wait_logged(client, &status).await.map(|()| None);
        };
        if status.settled {
            bar.finish_and_clear();
            return Ok(Some(format!("{} is not fresh: {}", first.table, explain(first))));
        }
        bar.set_message(format!(
            "{} of {} tables are fresh; {}: {}",
            status.tables.len() - not_fresh.len(),
            status.tables.len(),
            first.table,
            first.state
        ));
    }
}

fn explain(table: &TableStatus) -> String {
    match (table.state.as_str(), table.why()) {
        ("paused", _) => format!("it rests; `stele derived resume {}` ends that", table.table),
        (state, Some(why)) => format!("{state}: {why}"),
        (state, None) => state.to_owned(),
    }
}

/// A run is in `system.runs` a moment after it is published.
async fn wait_logged(client: &Client, status: &Status) -> Result<()> {
    let newest = status.tables.iter().filter_map(|t| t.last_run.as_ref()).map(|r| r.run).max().unwrap_or_default();
    let (began, logged) = (Instant::now(), format!("select count(*) from system.runs where run >= {newest}"));
    while newest > 0 && began.elapsed() < LOG_PATIENCE {
        let grid = sql::grid(client, &logged).await?;
        if grid.rows.first().and_then(|r| r.first()).is_some_and(|n| n.as_deref() != Some("0")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn send(client: &Client, verb: &str, files: &Definitions) -> Result<Vec<Finding>> {
    let answer: Tables<Finding> = client.put_json(Method::POST, &["derived", verb], &json!({ "files": files })).await?;
    Ok(answer.tables)
}

/// Compiles definitions against the sources that their own project declares.
async fn validate_alone(definitions: Definitions, url: &str) -> Result<()> {
    let project = derived::Project::from_files(definitions);
    let compiled = tokio::task::spawn_blocking(move || project.compile(&gateway::sql::session_without_tables, &[])).await?;
    eprintln!("no gateway answers at {url}: checked against the sources of the project alone");
    for artifact in compiled.artifacts() {
        println!("{}: valid", artifact.name);
        artifact.warnings.iter().for_each(|warning| println!("  warning: {warning}"));
    }
    let problems: Vec<_> = compiled.problems().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(()) } else { bail!(problems.join("\n")) }
}

fn report(found: &[Finding], prefix: &str) {
    for table in found {
        println!("{}: {prefix}{}", table.name, table.status);
        for warning in &table.warnings {
            println!("  warning: {warning}");
        }
    }
}

/// Where these tables (none: all) stand; with `wait`, answered when nothing goes on any more, or after that time.
async fn status(client: &Client, tables: &[String], wait: Option<Duration>) -> Result<Status> {
    let mut request = client.request(Method::GET, &["derived"]);
    if let Some(wait) = wait {
        request = request.query(&[("wait", format!("{}ms", wait.as_millis()))]);
    }
    let mut all: Status = client.json(request).await?;
    for name in tables {
        if !all.tables.iter().any(|t| t.table == *name) {
            bail!("there is no derived table '{name}'");
        }
    }
    all.tables.retain(|t| tables.is_empty() || tables.contains(&t.table));
    Ok(all)
}

async fn show_status(client: &Client, tables: &[String], wait: bool) -> Result<ExitCode> {
    let began = Instant::now();
    let failed = if wait { wait_fresh(client, tables).await? } else { None };
    let mut grid = Grid::with(&["table", "state", ">version", "complete until", "why"]);
    for t in status(client, tables, None).await?.tables {
        let why = t.why().unwrap_or_default().to_owned();
        grid.push(vec![t.table, t.state, t.version.to_string(), t.watermark.unwrap_or_default(), why]);
    }
    print!("{}", grid.render("", 120));
    if wait {
        println!("(waited {})", print::time(began.elapsed()));
    }
    match failed {
        Some(sentence) => bail!(sentence),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn runs(client: &Client, table: Option<&str>, limit: u32) -> Result<()> {
    let filter = table.map(|t| format!("where table_name = '{}'", t.replace('\'', "''"))).unwrap_or_default();
    let query = format!(
        "select started_at, table_name, status, reason, windows, rows_in, rows_out, rows_changed, duration_ms, error \
         from system.runs {filter} order by started_at desc, run desc limit {limit}"
    );
    let grid = sql::grid(client, &query).await.context("cannot read the run log")?;
    print!("{}", grid.render("", 60));
    Ok(())
}

async fn order(url: &UrlArgs, table: &str, verb: &str, body: &Value, outcome: &str) -> Result<()> {
    let client = Client::new(&url.url)?;
    client.done(client.request(Method::POST, &["derived", table, verb]).json(body)).await?;
    println!("{table} {outcome}");
    Ok(())
}
