//! `stele table`.

use crate::client::{Client, UrlArgs};
use crate::print::Grid;
use anyhow::{Context, Result, anyhow};
use clap::Subcommand;
use common::schema::TableSpec;
use derived::definition::Source;
use reqwest::Method;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do with tables.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Create tables from YAML or JSON specs; a table that exists with the same spec is left as it is.
    Create {
        /// Specs.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// List tables.
    List {
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Show a table as JSON.
    Get {
        /// dataset.name
        table: String,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Delete a table with all its rows.
    Delete {
        /// dataset.name
        table: String,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// Does it.
pub async fn run(command: TableCommand) -> Result<ExitCode> {
    match command {
        TableCommand::Create { files, url } => {
            // All are read before any is created: nothing half applied for a mistake in the last.
            let specs: Vec<_> = files.iter().map(|path| read_spec(path)).collect::<Result<_>>()?;
            let client = Client::new(&url.url)?;
            for spec in specs {
                create(&client, &spec).await?;
                println!("table {} is there", spec.name);
            }
        }
        TableCommand::List { url } => print!("{}", list(&Client::new(&url.url)?).await?.render("", usize::MAX)),
        TableCommand::Get { table, url } => {
            let found: Value = Client::new(&url.url)?.get(&["tables", &table]).await?;
            println!("{}", serde_json::to_string_pretty(&found)?);
        }
        TableCommand::Delete { table, url } => {
            let client = Client::new(&url.url)?;
            client.done(client.request(Method::DELETE, &["tables", &table])).await?;
            println!("table {table} is deleted");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates a table, or finds that it exists with the same spec.
pub async fn create(client: &Client, spec: &TableSpec) -> Result<()> {
    client.done(client.request(Method::POST, &["tables"]).json(spec)).await
}

/// Reads and checks a spec; what a project's source says beside is left to the project.
pub fn parse_spec(text: &str, name: &str) -> Result<TableSpec> {
    Source::parse(name, text).map(|source| source.spec).map_err(|e| anyhow!("{e}"))
}

fn read_spec(path: &Path) -> Result<TableSpec> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))?;
    parse_spec(&text, &path.display().to_string())
}

/// The spec of a table that exists.
pub async fn spec(client: &Client, table: &str) -> Result<TableSpec> {
    let found: Value = client.get(&["tables", table]).await?;
    let spec = found.get("spec").unwrap_or(&found);
    serde_json::from_value(spec.clone()).with_context(|| format!("the gateway's description of table '{table}'"))
}

async fn list(client: &Client) -> Result<Grid> {
    let found: Value = client.get(&["tables"]).await?;
    let mut grid = Grid::with(&["table", "kind", ">tablets", "complete until", "key"]);
    for table in found["tables"].as_array().into_iter().flatten() {
        let text = |name: &str| table[name].as_str().unwrap_or_default().to_owned();
        grid.push(vec![text("name"), text("kind"), table["tablets"].to_string(), text("watermark"), key_text(table)]);
    }
    Ok(grid)
}

/// `user_id, at desc`.
fn key_text(table: &Value) -> String {
    let spec = table.get("spec").unwrap_or(table);
    let parts = spec["key"].as_array().into_iter().flatten().filter_map(Value::as_object);
    let part = |(name, words): (&String, &Value)| format!("{name}: {}", words.as_str().unwrap_or_default());
    parts.flat_map(|p| p.iter().map(part).collect::<Vec<_>>()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_file_and_key() {
        let wrong = format!("{:#}", parse_spec("name: a.b\ncolums: {}\n", "b.yaml").unwrap_err());
        assert!(wrong.contains("b.yaml") && wrong.contains("colums"), "{wrong}");
        assert!(parse_spec("{name: a.b, families: {log: {gc: {max_versions: 3}}}}", "b.yaml").is_ok());
        let wrong = format!("{:#}", parse_spec("name: nodot\n", "b.yaml").unwrap_err());
        assert!(wrong.contains("nodot") && wrong.contains("dataset.name"), "{wrong}");
    }
}
