//! `stele admin`: servers, tablets, tables, and what is done with them.

mod tables;
mod watch;

use crate::client::{Client, UrlArgs};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tables::{SnapshotCommand, Source};
use watch::{LOOK, Show, Wait, begin, list};

/// What to see or do.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// List the masters.
    Masters(Show),
    /// Take a master out of the group for good; one that lost its folder and joins anew at its address does so by itself.
    RemoveMaster {
        /// The master's number.
        node: u64,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// List tablet servers with what they hold and bear.
    Servers(Show),
    /// List tablets with what they hold and bear.
    Tablets {
        /// Only of this table, dataset.name.
        table: Option<String>,
        #[command(flatten)]
        show: Show,
    },
    /// List procedures: those under way and the newest that have ended.
    Procedures(Show),
    /// Give a tablet to another server.
    Move {
        /// The tablet's id.
        tablet: u64,
        /// The server's id [default: the one that bears least].
        #[arg(long)]
        to: Option<u64>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Cut a tablet in two.
    Split {
        /// The tablet's id.
        tablet: u64,
        /// First key parts of the upper half as a JSON array, such as '["user500"]' [default: the middle of its bytes].
        #[arg(long)]
        at: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Make one tablet of two neighbours.
    Merge {
        /// The id of the one with the lower keys.
        lower: u64,
        /// The id of the one that begins where it ends.
        upper: u64,
        #[command(flatten)]
        wait: Wait,
    },
    /// Move all tablets off a server, and give it none.
    Drain {
        /// The server's id.
        server: u64,
        #[command(flatten)]
        wait: Wait,
    },
    /// Let a drained server have tablets again.
    Undrain {
        /// The server's id.
        server: u64,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Take, list and drop snapshots of raw tables.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Make a raw table over the SSTables of another, without a copy.
    Clone {
        #[command(flatten)]
        source: Source,
        /// dataset.name of the new table.
        name: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Copy a raw table to a place outside the cluster, which the masters must reach.
    Backup {
        #[command(flatten)]
        source: Source,
        /// s3://bucket/folder, gs://bucket/folder, az://container/folder or file:///folder, without a backup in it.
        location: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Make a raw table of a backup (its place as a URL), or of a snapshot (dataset.name@snapshot, or dataset.name --at TIME).
    Restore {
        #[command(flatten)]
        source: Source,
        /// dataset.name of the new table.
        name: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Refuse to drop a table from now on.
    Protect {
        /// dataset.name
        table: String,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Allow a protected table to be dropped again.
    Unprotect {
        /// dataset.name
        table: String,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// End a procedure that has not closed its tablets yet, or that copies a table.
    Cancel {
        /// The procedure's number.
        procedure: u64,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// Does it.
pub async fn run(command: AdminCommand) -> Result<ExitCode> {
    match command {
        AdminCommand::Masters(show) => list(&show, &["admin", "masters"], None, "masters").await?,
        AdminCommand::RemoveMaster { node, url } => {
            let client = Client::new(&url.url)?;
            client.done(client.request(Method::DELETE, &["admin", "masters", &node.to_string()])).await?;
            println!("master {node} is no longer part of the group");
        }
        AdminCommand::Servers(show) => list(&show, &["admin", "servers"], None, "servers").await?,
        AdminCommand::Tablets { table, show } => list(&show, &["admin", "tablets"], table.as_deref(), "tablets").await?,
        AdminCommand::Procedures(show) => list(&show, &["admin", "procedures"], None, "procedures").await?,
        AdminCommand::Move { tablet, to, wait } => begin(&wait, &json!({"procedure": "move", "tablet": tablet, "to": to})).await?,
        AdminCommand::Split { tablet, at, wait } => {
            let at: Option<Vec<Value>> = at.map(|text| parse_key(&text)).transpose()?;
            begin(&wait, &json!({"procedure": "split", "tablet": tablet, "at": at})).await?;
        }
        AdminCommand::Merge { lower, upper, wait } => {
            begin(&wait, &json!({"procedure": "merge", "lower": lower, "upper": upper})).await?;
        }
        AdminCommand::Drain { server, wait } => drain(server, &wait).await?,
        AdminCommand::Undrain { server, url } => {
            let client = Client::new(&url.url)?;
            client.done(client.request(Method::DELETE, &["admin", "servers", &server.to_string(), "drain"])).await?;
            println!("server {server} takes tablets again");
        }
        AdminCommand::Snapshot(command) => tables::snapshots(command).await?,
        AdminCommand::Clone { source, name, wait } => tables::clone(&source, &name, &wait).await?,
        AdminCommand::Backup { source, location, wait } => tables::back_up(&source, &location, &wait).await?,
        AdminCommand::Restore { source, name, wait } => tables::restore(&source, &name, &wait).await?,
        AdminCommand::Protect { table, url } => tables::protect(&table, true, &url).await?,
        AdminCommand::Unprotect { table, url } => tables::protect(&table, false, &url).await?,
        AdminCommand::Cancel { procedure, url } => {
            let client = Client::new(&url.url)?;
            client.done(client.request(Method::DELETE, &["admin", "procedures", &procedure.to_string()])).await?;
            println!("procedure {procedure} is cancelled");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_key(text: &str) -> Result<Vec<Value>> {
    serde_json::from_str(text).with_context(|| format!("--at '{text}': write a JSON array of key parts, such as '[\"user500\"]'"))
}

async fn drain(server: u64, wait: &Wait) -> Result<()> {
    let client = Client::new(&wait.url.url)?;
    client.done(client.request(Method::PUT, &["admin", "servers", &server.to_string(), "drain"])).await?;
    if wait.no_wait {
        println!("server {server} is being drained");
        return Ok(());
    }
    let until = Instant::now() + Duration::from_secs(wait.timeout);
    loop {
        let answer: Value = client.get(&["admin", "servers"]).await?;
        let found = answer["servers"].as_array().and_then(|all| all.iter().find(|s| s["id"] == server).cloned());
        let left = found.map_or(0, |s| s["tablets"].as_u64().unwrap_or(0));
        if left == 0 {
            println!("server {server} is empty");
            return Ok(());
        }
        if Instant::now() > until {
            bail!("server {server} still has {left} tablets after {} s: see `stele admin procedures`", wait.timeout);
        }
        tokio::time::sleep(LOOK).await;
    }
}
