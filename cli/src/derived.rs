//! `stele derived`.

use crate::client::{Client, UrlArgs};
use crate::print::{self, Grid};
use crate::project::{DerivedFile, Project};
use crate::sql;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Deserialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

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
    /// Compute a table anew, whatever is due.
    Run {
        /// dataset.name
        table: String,
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

/// Where a derived table stands.
#[derive(Clone, Debug, Deserialize)]
struct Status {
    name: String,
    fresh: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    watermark: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tables<T> {
    tables: Vec<T>,
}

/// What the gateway found in one definition.
#[derive(Debug, Deserialize)]
struct Finding {
    name: String,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Does it.
pub async fn run(command: DerivedCommand) -> Result<ExitCode> {
    match command {
        DerivedCommand::Validate { dir, url } => {
            let found = send(&Client::new(&url.url)?, "validate", &definitions(&dir)?).await?;
            report(&found, "valid");
        }
        DerivedCommand::Apply { dir, url } => {
            let found = send(&Client::new(&url.url)?, "apply", &definitions(&dir)?).await?;
            report(&found, "applied");
        }
        DerivedCommand::Status { tables, wait, url } => return status(&Client::new(&url.url)?, &tables, wait).await,
        DerivedCommand::Runs { table, limit, url } => runs(&Client::new(&url.url)?, table.as_deref(), limit).await?,
        DerivedCommand::Run { table, url } => order(&url, &table, "run", "is due again").await?,
        DerivedCommand::Pause { table, url } => order(&url, &table, "pause", "rests").await?,
        DerivedCommand::Resume { table, url } => order(&url, &table, "resume", "runs again").await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Applies definitions; gives the names of their tables.
pub async fn apply(client: &Client, files: &[DerivedFile]) -> Result<Vec<String>> {
    Ok(send(client, "apply", files).await?.into_iter().map(|t| t.name).collect())
}

/// Waits until these tables are fresh. A sentence if one cannot be.
pub async fn wait_fresh(client: &Client, tables: &[String]) -> Result<Option<String>> {
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("  {spinner} {msg}  {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(120));
    let outcome = loop {
        let all = statuses(client, tables).await?;
        if let Some(failed) = all.iter().find(|s| s.error.is_some()) {
            break Some(format!("{} fails: {}", failed.name, failed.error.as_deref().unwrap_or_default()));
        }
        let (waiting, resting): (Vec<&Status>, Vec<&Status>) = all.iter().filter(|s| !s.fresh).partition(|s| !s.paused);
        if waiting.is_empty() {
            break resting.first().map(|s| format!("{} rests and is not fresh: `stele derived resume {}`", s.name, s.name));
        }
        bar.set_message(format!("{} of {} tables are fresh; {} runs or waits", all.len() - waiting.len(), all.len(), waiting[0].name));
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    bar.finish_and_clear();
    Ok(outcome)
}

fn definitions(dir: &std::path::Path) -> Result<Vec<DerivedFile>> {
    let files = Project::folder(dir)?.derived();
    if files.is_empty() {
        bail!("'{}' has no definitions: one YAML file a derived table", dir.display());
    }
    Ok(files)
}

async fn send(client: &Client, verb: &str, files: &[DerivedFile]) -> Result<Vec<Finding>> {
    let answer: Tables<Finding> = client.put_json(Method::POST, &["derived", verb], &serde_json::json!({ "files": files })).await?;
    Ok(answer.tables)
}

fn report(found: &[Finding], otherwise: &str) {
    for table in found {
        println!("{}: {}", table.name, table.status.as_deref().unwrap_or(otherwise));
        for warning in &table.warnings {
            println!("  warning: {warning}");
        }
    }
}

async fn statuses(client: &Client, tables: &[String]) -> Result<Vec<Status>> {
    let all: Tables<Status> = client.get(&["derived"]).await?;
    for name in tables {
        if !all.tables.iter().any(|s| s.name == *name) {
            bail!("there is no derived table '{name}'");
        }
    }
    Ok(all.tables.into_iter().filter(|s| tables.is_empty() || tables.contains(&s.name)).collect())
}

async fn status(client: &Client, tables: &[String], wait: bool) -> Result<ExitCode> {
    let began = Instant::now();
    let failed = if wait { wait_fresh(client, tables).await? } else { None };
    let mut grid = Grid::with(&["table", "state", ">version", "complete until"]);
    for s in statuses(client, tables).await? {
        let state = match (&s.error, s.paused, s.fresh) {
            (Some(e), ..) => format!("failed: {e}"),
            (None, true, _) => "rests".into(),
            (None, false, true) => "fresh".into(),
            (None, false, false) => "due".into(),
        };
        let version = s.version.map(|v| v.to_string()).unwrap_or_default();
        grid.push(vec![s.name, state, version, s.watermark.unwrap_or_default()]);
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

async fn order(url: &UrlArgs, table: &str, verb: &str, outcome: &str) -> Result<()> {
    let client = Client::new(&url.url)?;
    client.done(client.request(Method::POST, &["derived", table, verb])).await?;
    println!("{table} {outcome}");
    Ok(())
}
