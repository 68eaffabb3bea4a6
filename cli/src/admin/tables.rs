//! What is done with whole tables: snapshots, clones, backups, protection.

use super::watch::{Show, Wait, begin, list, wait_for};
use crate::client::{Client, UrlArgs};
use crate::print::Grid;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Keep a raw table as it is now, without a copy.
    Create {
        /// dataset.name
        table: String,
        /// Its name [default: the time].
        #[arg(long)]
        name: Option<String>,
        /// Drop it by itself after this long, such as 7d [default: never].
        #[arg(long)]
        expires: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// List snapshots.
    List {
        /// Only of this table, dataset.name; it may be gone.
        table: Option<String>,
        #[command(flatten)]
        show: Show,
    },
    /// Drop a snapshot; what only it holds is deleted.
    Drop {
        /// dataset.name@snapshot
        snapshot: String,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Take snapshots of a raw table again and again.
    Schedule {
        /// dataset.name
        table: String,
        /// From one to the next, such as 1h.
        #[arg(long, required_unless_present = "off")]
        every: Option<String>,
        /// How many are kept.
        #[arg(long, required_unless_present = "off")]
        keep: Option<u64>,
        /// Take no more; those there stay.
        #[arg(long, conflicts_with_all = ["every", "keep"])]
        off: bool,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// What is copied.
#[derive(Debug, Args)]
pub struct Source {
    /// dataset.name of a raw table as it is now, or dataset.name@snapshot
    source: String,
    /// The newest snapshot of the table that shows nothing written after this time, such as 2026-01-31T12:00:00Z
    #[arg(long)]
    at: Option<String>,
}

impl Source {
    fn document(&self, procedure: &str) -> Result<Map<String, Value>> {
        let mut document = Map::from_iter([("procedure".to_owned(), json!(procedure))]);
        match (self.source.split_once('@'), &self.at) {
            (Some(_), Some(_)) => bail!("'{}' names a snapshot, and so does --at: give one of them", self.source),
            (Some((table, snapshot)), None) => {
                document.extend([("table".to_owned(), json!(table)), ("snapshot".to_owned(), json!(snapshot))]);
            }
            (None, at) => {
                document.insert("table".to_owned(), json!(self.source));
                document.extend(at.iter().map(|at| ("at".to_owned(), json!(at))));
            }
        }
        Ok(document)
    }
}

/// `dataset.name@snapshot` in its two parts.
fn parse_snapshot(text: &str) -> Result<(&str, &str)> {
    let Some(parts) = text.split_once('@') else { bail!("'{text}' does not name a snapshot: write dataset.name@snapshot") };
    Ok(parts)
}

/// Does something with snapshots.
pub async fn snapshots(command: SnapshotCommand) -> Result<()> {
    match command {
        SnapshotCommand::Create { table, name, expires, wait } => {
            let client = Client::new(&wait.url.url)?;
            let wanted = json!({"table": table, "name": name, "expires_after": expires});
            let begun = client.put_json(Method::POST, &["admin", "snapshots"], &wanted).await?;
            wait_for(&client, &wait, begun).await
        }
        SnapshotCommand::List { table, show } if show.json => list(&show, &["admin", "snapshots"], table.as_deref(), "snapshots").await,
        SnapshotCommand::List { table, show } => {
            let client = Client::new(&show.url.url)?;
            let request =
                client.request(Method::GET, &["admin", "snapshots"]).query(&table.map(|t| ("table", t)).into_iter().collect::<Vec<_>>());
            print!("{}", grid(&client.json(request).await?).render("", usize::MAX));
            Ok(())
        }
        SnapshotCommand::Drop { snapshot, url } => {
            let (table, name) = parse_snapshot(&snapshot)?;
            let client = Client::new(&url.url)?;
            client.done(client.request(Method::DELETE, &["admin", "snapshots", table, name])).await?;
            println!("snapshot {snapshot} is dropped");
            Ok(())
        }
        SnapshotCommand::Schedule { table, every, keep, off, url } => {
            let client = Client::new(&url.url)?;
            let path = ["admin", "tables", &table, "schedule"];
            if off {
                client.done(client.request(Method::DELETE, &path)).await?;
                println!("no more snapshots of {table} are taken by themselves");
            } else {
                client.done(client.request(Method::PUT, &path).json(&json!({"every": every, "keep": keep}))).await?;
                println!("snapshots of {table} are taken by themselves");
            }
            Ok(())
        }
    }
}

fn grid(answer: &Value) -> Grid {
    let mut grid = Grid::with(&["snapshot", "state", "why", "taken at", "expires at", ">tablets", ">bytes"]);
    for s in answer["snapshots"].as_array().into_iter().flatten() {
        let text = |name: &str| s[name].as_str().unwrap_or_default().to_owned();
        let parts = s["parts"].as_array().map_or(0, Vec::len).to_string();
        let name = format!("{}@{}", text("table"), text("name"));
        grid.push(vec![name, text("state"), text("why"), text("taken_at"), text("expires_at"), parts, s["bytes"].to_string()]);
    }
    grid
}

/// Begins a clone, and waits for it.
pub async fn clone(source: &Source, name: &str, wait: &Wait) -> Result<()> {
    let mut document = source.document("clone")?;
    document.insert("name".to_owned(), json!(name));
    begin(wait, &Value::Object(document)).await
}

/// Begins a backup, and waits for it.
pub async fn back_up(source: &Source, location: &str, wait: &Wait) -> Result<()> {
    let mut document = source.document("backup")?;
    document.insert("location".to_owned(), json!(location));
    begin(wait, &Value::Object(document)).await
}

/// Begins a restore of a backup, or of a kept snapshot, and waits for it.
pub async fn restore(source: &Source, name: &str, wait: &Wait) -> Result<()> {
    let is_place = source.source.contains("://") || source.source.starts_with('/');
    match (is_place, &source.at) {
        (true, None) => begin(wait, &json!({"procedure": "restore", "location": source.source, "name": name})).await,
        (true, Some(_)) => bail!("a backup shows one time only: leave out --at"),
        (false, None) if !source.source.contains('@') => {
            bail!("'{}' is neither a backup's place nor a snapshot: write a URL, dataset.name@snapshot, or add --at TIME", source.source)
        }
        (false, _) => clone(source, name, wait).await,
    }
}

/// Refuses to drop a table from now on, or allows it again.
pub async fn protect(table: &str, protected: bool, url: &UrlArgs) -> Result<()> {
    let client = Client::new(&url.url)?;
    let method = if protected { Method::PUT } else { Method::DELETE };
    client.done(client.request(method, &["admin", "tables", table, "protection"])).await?;
    println!("table {table} {}", if protected { "is protected from being dropped" } else { "can be dropped again" });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_table_a_snapshot_or_a_time() {
        let document = |source: &str, at: Option<&str>| {
            let source = Source { source: source.into(), at: at.map(Into::into) };
            source.document("clone").map(Value::Object).map_err(|e| e.to_string())
        };
        assert_eq!(document("a.b", None), Ok(json!({"procedure": "clone", "table": "a.b"})));
        assert_eq!(document("a.b@s", None), Ok(json!({"procedure": "clone", "table": "a.b", "snapshot": "s"})));
        assert_eq!(document("a.b", Some("2026-01-31")), Ok(json!({"procedure": "clone", "table": "a.b", "at": "2026-01-31"})));
        assert!(document("a.b@s", Some("2026-01-31")).is_err() && parse_snapshot("a.b").is_err());
    }
}
