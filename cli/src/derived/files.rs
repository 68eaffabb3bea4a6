//! Definitions sent to a gateway, and what it found in them.

use crate::client::Client;
use crate::project::Definitions;
use anyhow::Result;
use reqwest::Method;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub struct Findings {
    tables: Vec<Finding>,
    #[serde(default)]
    seeds: Vec<SeedFinding>,
    /// Sources.
    #[serde(default)]
    created: Vec<String>,
}

/// What the gateway did with one seed.
#[derive(Debug, Deserialize)]
struct SeedFinding {
    name: String,
    status: String,
    written: u64,
    deleted: u64,
}

/// What the gateway found in one definition.
#[derive(Debug, Deserialize)]
pub struct Finding {
    name: String,
    /// `created`, `changed`, `rebuilt`, `updated`, `removed` or `unchanged`.
    status: String,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Definitions with where they belong.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sent {
    /// By path.
    pub files: Definitions,
    /// Empty: production.
    pub environment: String,
    /// Retire what is not among them.
    pub prune: bool,
    /// Refused once definitions are others than a plan was based on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
}

/// Sends definitions to be validated or applied.
pub async fn send(client: &Client, verb: &str, sent: &Sent) -> Result<Findings> {
    client.put_json(Method::POST, &["derived", verb], sent).await
}

/// Applies definitions; gives the names of their tables.
pub async fn apply(client: &Client, files: &Definitions) -> Result<Vec<String>> {
    let sent = Sent { files: files.clone(), ..Sent::default() };
    Ok(send(client, "apply", &sent).await?.tables.into_iter().map(|t| t.name).collect())
}

/// Prints what was found.
pub fn report(found: &Findings) {
    for source in &found.created {
        println!("{source}: created");
    }
    for seed in &found.seeds {
        println!("{}: {}, {} rows written, {} deleted", seed.name, seed.status, seed.written, seed.deleted);
    }
    for table in &found.tables {
        println!("{}: {}", table.name, table.status);
        for warning in &table.warnings {
            println!("  warning: {warning}");
        }
    }
}
