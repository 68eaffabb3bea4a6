//! Definitions sent to a gateway, and what it found in them.

use crate::client::Client;
use crate::project::Definitions;
use anyhow::Result;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
struct Findings {
    tables: Vec<Finding>,
}

/// What the gateway found in one definition.
#[derive(Debug, Deserialize)]
pub struct Finding {
    name: String,
    /// `created`, `changed`, `updated` or `unchanged`.
    status: String,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Sends definitions to be validated or applied.
pub async fn send(client: &Client, verb: &str, files: &Definitions) -> Result<Vec<Finding>> {
    let answer: Findings = client.put_json(Method::POST, &["derived", verb], &json!({ "files": files })).await?;
    Ok(answer.tables)
}

/// Applies definitions; gives the names of their tables.
pub async fn apply(client: &Client, files: &Definitions) -> Result<Vec<String>> {
    Ok(send(client, "apply", files).await?.into_iter().map(|t| t.name).collect())
}

/// Prints what was found.
pub fn report(found: &[Finding], prefix: &str) {
    for table in found {
        println!("{}: {prefix}{}", table.name, table.status);
        for warning in &table.warnings {
            println!("  warning: {warning}");
        }
    }
}
