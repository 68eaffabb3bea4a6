//! Where derived tables stand, and their runs.

use crate::client::{Client, UrlArgs};
use crate::print::{self, Grid};
use crate::sql;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Deserialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One request of a wait for freshness answers after this time at the latest, so that progress can be shown.
const STATUS_WAIT: Duration = Duration::from_millis(500);
/// For the run log to tell of a published run.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// What goes on.
#[derive(Debug, Subcommand)]
pub enum StatusCommand {
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

/// Does it.
pub async fn run(command: StatusCommand) -> Result<ExitCode> {
    match command {
        StatusCommand::Status { tables, wait, url } => show_status(&Client::new(&url.url)?, &tables, wait).await,
        StatusCommand::Runs { table, limit, url } => {
            runs(&Client::new(&url.url)?, table.as_deref(), limit).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
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

/// The names of all derived tables.
pub async fn names(client: &Client) -> Result<Vec<String>> {
    Ok(status(client, &[], None).await?.tables.into_iter().map(|t| t.table).collect())
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
