//! Lists as they are shown, and procedures as they are waited for.

use crate::client::{Client, UrlArgs};
use crate::print::Grid;
use anyhow::{Context, Result, bail};
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Between two looks at what is waited for.
pub const LOOK: Duration = Duration::from_millis(100);

/// How to show a list.
#[derive(Debug, Args)]
pub struct Show {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub url: UrlArgs,
}

/// Whether to wait for the end.
#[derive(Debug, Args)]
pub struct Wait {
    /// Do not wait for the end.
    #[arg(long)]
    pub no_wait: bool,
    /// Print JSON: the procedure as it ended, or its number with --no-wait.
    #[arg(long)]
    pub json: bool,
    /// Seconds to wait at most.
    #[arg(long, default_value_t = 120)]
    pub timeout: u64,
    #[command(flatten)]
    pub url: UrlArgs,
}

/// What an answer says that begins a procedure.
#[derive(Debug, Deserialize)]
pub struct Begun {
    id: u64,
}

/// Shows one member of an answer, which is a list of objects.
pub async fn list(show: &Show, path: &[&str], table: Option<&str>, member: &str) -> Result<()> {
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

/// Begins a procedure, and waits for it.
pub async fn begin(wait: &Wait, wanted: &Value) -> Result<()> {
    let client = Client::new(&wait.url.url)?;
    let begun = client.put_json(Method::POST, &["admin", "procedures"], wanted).await?;
    wait_for(&client, wait, begun).await
}

/// Waits for a procedure's end, and says what it was.
pub async fn wait_for(client: &Client, wait: &Wait, Begun { id }: Begun) -> Result<()> {
    if wait.no_wait {
        if wait.json {
            println!("{}", json!({ "id": id }));
        } else {
            println!("procedure {id} has begun");
        }
        return Ok(());
    }
    let until = Instant::now() + Duration::from_secs(wait.timeout);
    loop {
        let found = procedures(client).await?.into_iter().find(|p| p["id"] == id);
        let ended = found.filter(|p| !p["ended_at"].is_null());
        if let Some(ended) = ended {
            if let Some(error) = ended["error"].as_str() {
                bail!("procedure {id} has failed: {error}");
            }
            if wait.json {
                println!("{}", serde_json::to_string_pretty(&ended)?);
                return Ok(());
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
