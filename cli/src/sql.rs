//! `stele sql`.

use crate::client::{ARROW, Client, NDJSON, UrlArgs, pipe};
use crate::print::{Grid, count, time};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Options of `stele sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The query; without one, and without --file, it is read from stdin.
    #[arg(conflicts_with = "file")]
    query: Option<String>,
    /// File that holds the query.
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// How the answer is printed. A table holds the whole answer in memory; the others stream.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    url: UrlArgs,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns.
    Table,
    /// Comma-separated, with a header.
    Csv,
    /// One JSON document.
    Json,
    /// One JSON object a row.
    Ndjson,
}

/// Runs a query and prints its answer.
pub async fn run(args: SqlArgs) -> Result<ExitCode> {
    let query = args.text()?;
    let client = Client::new(&args.url.url)?;
    let began = Instant::now();
    let accept = match args.format {
        Format::Table => ARROW,
        Format::Csv => "text/csv",
        Format::Json => "application/json",
        Format::Ndjson => NDJSON,
    };
    let response = client.sql(&query, accept).await?;
    if args.format != Format::Table {
        pipe(response).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let grid = Grid::from_ipc(&response.bytes().await.context("the answer broke off")?)?;
    let mut out = std::io::stdout().lock();
    out.write_all(grid.render("", usize::MAX).as_bytes())?;
    writeln!(out, "({}, {})", count(grid.rows.len() as u64, "row"), time(began.elapsed()))?;
    Ok(ExitCode::SUCCESS)
}

/// A query's answer as text, for people and for picking values.
pub async fn grid(client: &Client, query: &str) -> Result<Grid> {
    let response = client.sql(query, ARROW).await?;
    Grid::from_ipc(&response.bytes().await.context("the answer broke off")?)
}

impl SqlArgs {
    fn text(&self) -> Result<String> {
        if let Some(query) = &self.query {
            return Ok(query.clone());
        }
        if let Some(path) = &self.file {
            return std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()));
        }
        let mut text = String::new();
        if std::io::stdin().is_terminal() {
            bail!("no query: give it as an argument, in a file with -f, or on stdin");
        }
        std::io::stdin().read_to_string(&mut text).context("cannot read the query from stdin")?;
        Ok(text)
    }
}
