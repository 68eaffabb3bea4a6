//! Whether tables hold what their runs have published.

use super::status::names;
use crate::client::Client;
use crate::exit::CHANGES;
use crate::print::{self, Grid};
use anyhow::Result;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// What was found in one table.
#[derive(Debug, Serialize, Deserialize)]
struct Verified {
    table: String,
    version: u64,
    /// `sound`, `altered` or `unreadable`.
    state: String,
    rows: u64,
    windows: serde_json::Value,
    error: Option<String>,
    repair: Option<String>,
}

/// Looks at these tables (none: all), one after another.
pub async fn run(client: &Client, tables: Vec<String>, repair: bool, json: bool) -> Result<ExitCode> {
    let tables = if tables.is_empty() { names(client).await? } else { tables };
    let mut found = Vec::new();
    for table in &tables {
        let request = client.request(Method::POST, &["derived", table, "verify"]).query(&[("repair", repair)]);
        found.push(client.json::<Verified>(request).await?);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        let mut grid = Grid::with(&["table", "state", ">rows", "what is wrong", "repair"]);
        for v in &found {
            let (error, repair) = (v.error.clone().unwrap_or_default(), v.repair.clone().unwrap_or_default());
            grid.push(vec![v.table.clone(), v.state.clone(), v.rows.to_string(), error, repair]);
        }
        print!("{}", grid.render("", 160));
        println!("{} looked at", print::count(found.len() as u64, "table"));
    }
    Ok(if found.iter().all(|v| v.state == "sound") { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
}
