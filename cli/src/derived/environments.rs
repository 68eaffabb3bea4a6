//! Environments: tables beside those that serve.

use crate::client::{Client, UrlArgs};
use crate::print::Grid;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use common::environment::UNDO;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// Work on environments.
#[derive(Debug, Subcommand)]
pub enum EnvironmentCommand {
    /// List, show or drop environments; `stele derived apply --env NAME` makes one.
    #[command(subcommand)]
    Env(EnvCommand),
    /// Put an environment's tables in the place of production's.
    Promote {
        /// Its name.
        environment: String,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Take the last change of tables' form back, or the one that is kept under this name.
    Rollback {
        /// As `stele derived env list` shows it, undo…
        kept: Option<String>,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// Environments one by one.
#[derive(Debug, Subcommand)]
pub enum EnvCommand {
    /// List all environments.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Show the tables of one.
    Show {
        /// Its name.
        environment: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Drop one with its tables.
    Drop {
        /// Its name.
        environment: String,
        #[command(flatten)]
        url: UrlArgs,
    },
}

#[derive(Debug, Deserialize)]
struct Environments {
    environments: Vec<Environment>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Environment {
    name: String,
    until: Option<String>,
    tables: Vec<Table>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Table {
    name: String,
    table: String,
    since: String,
}

/// Does it.
pub async fn run(command: EnvironmentCommand) -> Result<ExitCode> {
    match command {
        EnvironmentCommand::Env(EnvCommand::List { json, url }) => show_all(&all(&Client::new(&url.url)?).await?, json)?,
        EnvironmentCommand::Env(EnvCommand::Show { environment, json, url }) => {
            show_one(&named(all(&Client::new(&url.url)?).await?, &environment)?, json)?;
        }
        EnvironmentCommand::Env(EnvCommand::Drop { environment, url }) => {
            let client = Client::new(&url.url)?;
            client.done(client.request(Method::DELETE, &["environments", &environment])).await?;
            println!("{environment} is dropped");
        }
        EnvironmentCommand::Promote { environment, url } => promote(&Client::new(&url.url)?, &environment).await?,
        EnvironmentCommand::Rollback { kept, url } => {
            let client = Client::new(&url.url)?;
            let kept = match kept {
                Some(kept) => kept,
                None => newest(&all(&client).await?).context("nothing is kept that a change has replaced")?,
            };
            promote(&client, &kept).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn all(client: &Client) -> Result<Vec<Environment>> {
    Ok(client.get::<Environments>(&["environments"]).await?.environments)
}

fn named(all: Vec<Environment>, name: &str) -> Result<Environment> {
    let names: Vec<_> = all.iter().map(|e| e.name.clone()).collect();
    match all.into_iter().find(|e| e.name == name) {
        Some(found) => Ok(found),
        None if names.is_empty() => bail!("there is no environment '{name}', nor any other beside production"),
        None => bail!("there is no environment '{name}': there are {}", names.join(", ")),
    }
}

/// The number behind `undo` grows with every change.
fn newest(all: &[Environment]) -> Option<String> {
    let number = |e: &Environment| e.name.strip_prefix(UNDO)?.parse::<u64>().ok();
    all.iter().filter_map(|e| Some((number(e)?, e.name.clone()))).max().map(|(_, name)| name)
}

async fn promote(client: &Client, environment: &str) -> Result<()> {
    client.done(client.request(Method::POST, &["environments", environment, "promote"])).await?;
    println!("{environment} serves now; `stele derived rollback` takes that back");
    Ok(())
}

fn show_all(all: &[Environment], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(all)?);
        return Ok(());
    }
    let mut grid = Grid::with(&["environment", ">tables", "kept until"]);
    for e in all {
        grid.push(vec![e.name.clone(), e.tables.len().to_string(), e.until.clone().unwrap_or_default()]);
    }
    print!("{}", grid.render("", 120));
    Ok(())
}

fn show_one(environment: &Environment, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(environment)?);
        return Ok(());
    }
    let mut grid = Grid::with(&["table", "read it as", "since"]);
    for t in &environment.tables {
        grid.push(vec![t.name.clone(), t.table.clone(), t.since.clone()]);
    }
    print!("{}", grid.render("", 120));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_change_is_taken_back() {
        let environment = |name: &str| Environment { name: name.into(), until: None, tables: Vec::new() };
        let all: Vec<_> = ["dev", "undo10", "undo9", "undone"].map(environment).into();
        assert_eq!(newest(&all).as_deref(), Some("undo10"));
        assert_eq!(newest(&all[..1]), None);
        assert!(named(all, "test").unwrap_err().to_string().contains("dev, undo10"));
    }
}
