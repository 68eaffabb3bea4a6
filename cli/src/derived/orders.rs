//! Orders to the runner about one table.

use crate::client::{Client, UrlArgs};
use anyhow::Result;
use clap::Subcommand;
use common::time::Micros;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Orders about one table.
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
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
    /// Compare all rows of tables with what their runs have published; exit code 2 if something is wrong.
    Verify {
        /// dataset.name; none: all.
        tables: Vec<String>,
        /// Have computed anew what is wrong.
        #[arg(long)]
        repair: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
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

/// Does it.
pub async fn run(command: OrderCommand) -> Result<ExitCode> {
    match command {
        OrderCommand::Run { table, from, to, url } => {
            let range = json!({ "from": from.map(Micros::to_rfc3339), "to": to.map(Micros::to_rfc3339) });
            order(&url, &table, "run", &range, "is due again").await?;
        }
        OrderCommand::Verify { tables, repair, json, url } => {
            return super::verify::run(&Client::new(&url.url)?, tables, repair, json).await;
        }
        OrderCommand::Pause { table, url } => order(&url, &table, "pause", &json!({}), "rests").await?,
        OrderCommand::Resume { table, url } => order(&url, &table, "resume", &json!({}), "runs again").await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn order(url: &UrlArgs, table: &str, verb: &str, body: &Value, outcome: &str) -> Result<()> {
    let client = Client::new(&url.url)?;
    client.done(client.request(Method::POST, &["derived", table, verb]).json(body)).await?;
    println!("{table} {outcome}");
    Ok(())
}
