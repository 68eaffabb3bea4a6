//! `stele admin`: servers, tablets, and what is done with them.

use crate::client::{Client, UrlArgs};
use crate::print::Grid;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at a procedure that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// What to see or do.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
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
    /// End a procedure that has not closed its tablets yet.
    Cancel {
        /// The procedure's number.
        procedure: u64,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// How to show a list.
#[derive(Debug, Args)]
pub struct Show {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    url: UrlArgs,
}

/// Whether to wait for the end.
#[derive(Debug, Args)]
pub struct Wait {
    /// Do not wait for the end.
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait at most.
    #[arg(long, default_value_t = 120)]
    timeout: u64,
    #[command(flatten)]
    url: UrlArgs,
}

#[derive(Debug, Deserialize)]
struct Begun {
    id: u64,
}

/// Does it.
pub async fn run(command: AdminCommand) -> Result<ExitCode> {
    match command {
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

async fn list(show: &Show, path: &[&str], table: Option<&str>, member: &str) -> Result<()> {
    let client = Client::new(&show.url.url)?;
    let mut answer = page(&client, path, table, None).await?;
    // What a page leaves for the next one is asked for until there is no more.
    while let Some(next) = answer.remove("next") {
        let mut more = page(&client, path, table, next.as_str()).await?;
        if let (Some(Value::Array(all)), Some(Value::Array(rows))) = (answer.get_mut(member), more.remove(member)) {
            all.extend(rows);
        }
        answer.extend(more.remove("next").map(|next| ("next".to_owned(), next)));
    }
    if show.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    let rows = answer.remove(member).unwrap_or_default();
    let rows: Vec<Map<String, Value>> = serde_json::from_value(rows).context("an answer of another shape than expected")?;
    print!("{}", Grid::from_json(&rows).render("", usize::MAX));
    Ok(())
}

async fn page(client: &Client, path: &[&str], table: Option<&str>, after: Option<&str>) -> Result<Map<String, Value>> {
    let query: Vec<_> = table.map(|t| ("table", t)).into_iter().chain(after.map(|a| ("after", a))).collect();
    client.json(client.request(Method::GET, path).query(&query)).await
}

async fn begin(wait: &Wait, wanted: &Value) -> Result<()> {
    let client = Client::new(&wait.url.url)?;
    let Begun { id } = client.put_json(Method::POST, &["admin", "procedures"], wanted).await?;
    if wait.no_wait {
        println!("procedure {id} has begun");
        return Ok(());
    }
    let until = Instant::now() + Duration::from_secs(wait.timeout);
    loop {
        let found = procedures(&client).await?.into_iter().find(|p| p["id"] == id);
        let ended = found.filter(|p| !p["ended_at"].is_null());
        if let Some(ended) = ended {
            if let Some(error) = ended["error"].as_str() {
                bail!("procedure {id} has failed: {error}");
            }
            let made: Vec<_> = ended["made"].as_array().into_iter().flatten().map(ToString::to_string).collect();
            let made = if made.is_empty() { String::new() } else { format!(": tablets {}", made.join(", ")) };
            println!("procedure {id} is done{made}");
            return Ok(());
        }
        if Instant::now() > until {
            bail!("procedure {id} is still under way after {} s: see `stele admin procedures`", wait.timeout);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn procedures(client: &Client) -> Result<Vec<Value>> {
    let mut answer: Value = client.get(&["admin", "procedures"]).await?;
    Ok(answer["procedures"].as_array_mut().map(std::mem::take).unwrap_or_default())
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
