//! Environments as people see them: what is in them, taking one for production, dropping one.

use super::Runner;
use super::api::status;
use crate::cluster::Cluster;
use common::catalog::{Catalog, Definition};
use common::environment::{UNDO, split};
use common::rpc::master::{Command, UNDO_TTL};
use common::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Definitions that do not serve under their own names.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EnvironmentView {
    /// Its name: chosen, `next` for changes that are being built, `undo…` for what a change has replaced.
    pub name: String,
    /// When what a change has replaced is dropped; null for an environment that is kept fresh.
    pub until: Option<String>,
    /// Its tables, by name.
    pub tables: Vec<EnvironmentTable>,
}

/// A table of an environment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EnvironmentTable {
    /// `dataset.name`, as in production.
    pub name: String,
    /// The table that holds it, to be read like any other.
    pub table: String,
    /// When it was applied or retired.
    pub since: String,
}

/// All environments but production, by name.
#[must_use]
pub fn list(catalog: &Catalog) -> Vec<EnvironmentView> {
    let mut found: BTreeMap<String, EnvironmentView> = BTreeMap::new();
    let live = catalog.definitions.values().map(|d| (d, None));
    for (definition, until) in live.chain(catalog.retired.values().map(|d| (d, Some(d.applied_at.after(UNDO_TTL).to_rfc3339())))) {
        let (environment, name) = split(&definition.name);
        if environment.is_empty() {
            continue;
        }
        let empty = || EnvironmentView { name: environment.to_owned(), until, tables: Vec::new() };
        let view = found.entry(environment.to_owned()).or_insert_with(empty);
        view.tables.push(EnvironmentTable { name, table: definition.name.clone(), since: definition.applied_at.to_rfc3339() });
    }
    found.into_values().collect()
}

/// Puts an environment's tables in the place of production's, or takes back what a change has replaced.
///
/// # Errors
/// `NotFound`; `FailedPrecondition` if one of its tables is not fresh.
pub async fn promote(cluster: &Arc<Cluster>, runner: Option<&Arc<Runner>>, environment: &str) -> Result<()> {
    let catalog = cluster.catalog();
    let members: Vec<&Definition> = catalog
        .definitions
        .values()
        .chain(catalog.retired.values())
        .filter(|d| d.environment() == environment && !environment.is_empty())
        .map(AsRef::as_ref)
        .collect();
    if !environment.starts_with(UNDO) {
        let status = status(runner, None).await?;
        let stale = status.tables.iter().find(|t| t.state != "fresh" && members.iter().any(|m| m.name == t.table));
        if let Some(stale) = stale {
            return Err(Error::refused(format!("table '{}' is {}: wait until it is fresh", stale.table, stale.state)));
        }
    }
    let expected = members.iter().map(|d| (d.name.clone(), d.fingerprint.clone())).collect();
    cluster.submit(Command::Promote { environment: environment.to_owned(), expected }).await.map(drop)
}

/// Drops an environment with its tables.
///
/// # Errors
/// `NotFound`; `FailedPrecondition` if one of its tables is protected.
pub async fn discard(cluster: &Arc<Cluster>, environment: &str) -> Result<()> {
    cluster.submit(Command::DropEnvironment { environment: environment.to_owned() }).await.map(drop)
}
