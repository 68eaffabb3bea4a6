//! `stele rows`.

use crate::client::{Client, NDJSON, UrlArgs, pipe};
use anyhow::{Result, anyhow};
use clap::Subcommand;
use reqwest::Method;
use std::process::ExitCode;

/// What to do with rows.
#[derive(Debug, Subcommand)]
pub enum RowsCommand {
    /// Read rows by key, key prefix and time range, as NDJSON.
    Get {
        /// dataset.name
        table: String,
        /// Parameters of the read: `user_id=u1 from=2026-01-15 limit=5`; see /docs.
        parameters: Vec<String>,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// Does it.
pub async fn run(command: RowsCommand) -> Result<ExitCode> {
    let RowsCommand::Get { table, parameters, url } = command;
    let parameters: Vec<_> = parameters.iter().map(|p| pair(p)).collect::<Result<_>>()?;
    let client = Client::new(&url.url)?;
    let request = client.request(Method::GET, &["tables", &table, "rows"]).query(&parameters);
    pipe(client.send(request.header(reqwest::header::ACCEPT, NDJSON)).await?).await?;
    Ok(ExitCode::SUCCESS)
}

fn pair(text: &str) -> Result<(&str, &str)> {
    text.split_once('=').ok_or_else(|| anyhow!("'{text}' is not a parameter: write name=value"))
}
