//! What the REST routes of derived tables call.

pub use super::apply::{Finding, Findings, Order, PlanView, apply, show_plan, validate};
pub use super::environments::{EnvironmentView, discard, list as environments, promote};
pub use super::verify::Verified;

use super::{Runner, Status};
use crate::cluster::{Cluster, near};
use common::catalog::Definition;
use common::rpc::master::Command;
use common::time::Micros;
use common::version::RangeSet;
use common::{Error, Result};
use derived::document::{Artifact, Strategy};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// An applied definition.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DefinitionView {
    /// `dataset.name`.
    pub name: String,
    /// What it means, for people.
    pub description: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// The definition's file, relative to its project.
    pub file: String,
    /// The definition as written.
    pub yaml: String,
    /// Its SQL as written.
    pub source: String,
    /// `replace`, `append` or `merge`.
    pub strategy: &'static str,
    /// The output column that says which window a row lies in; none: the table has no windows.
    pub time_column: Option<String>,
    /// What it reads.
    pub inputs: Vec<InputView>,
    /// The columns that no two rows share.
    pub unique: Vec<String>,
    /// Of everything that decides its rows.
    pub fingerprint: String,
    /// Whether it rests.
    pub paused: bool,
    /// When it was last changed.
    pub applied_at: String,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// An input of a definition.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InputView {
    /// `dataset.name`.
    pub name: String,
    /// What of it a window reads, and so which windows its changes reach.
    pub why: String,
}

/// Where all derived tables stand; with `wait`, answered when nothing goes on by itself any more, or after that time.
///
/// # Errors
/// `Unavailable` if this gateway runs no derived tables, so that it cannot know.
pub async fn status(runner: Option<&Arc<Runner>>, wait: Option<Duration>) -> Result<Arc<Status>> {
    let runner = runner.ok_or_else(|| Error::unavailable("this gateway runs no derived tables: ask one that does"))?;
    Ok(match wait {
        None => runner.status(),
        Some(wait) => runner.settled(wait).await,
    })
}

/// An applied definition.
///
/// # Errors
/// `NotFound`, with the names that come close.
pub fn get(cluster: &Cluster, name: &str) -> Result<DefinitionView> {
    let definition = find(cluster, name)?;
    let artifact = Artifact::from_document(&definition.document)?;
    let input = |i: &derived::document::Input| InputView { name: i.name.clone(), why: i.why.clone() };
    Ok(DefinitionView {
        inputs: artifact.inputs.iter().map(input).collect(),
        strategy: match artifact.strategy {
            Strategy::Replace => "replace",
            Strategy::Append { .. } => "append",
            Strategy::Merge(_) => "merge",
        },
        name: artifact.name,
        description: artifact.spec.description,
        owner: artifact.owner,
        tags: artifact.tags,
        file: artifact.file,
        yaml: artifact.yaml,
        source: artifact.source,
        time_column: artifact.window.map(|w| w.time_column),
        unique: artifact.unique,
        fingerprint: definition.fingerprint,
        paused: definition.paused,
        applied_at: definition.applied_at.to_rfc3339(),
        warnings: artifact.warnings,
    })
}

/// Reads all of a table and compares it with what its runs have published; with `repair`, has computed anew what is wrong.
///
/// # Errors
/// `NotFound`; `Unavailable` where it could not be read for now.
pub async fn verify(cluster: &Arc<Cluster>, name: &str, repair: bool) -> Result<Verified> {
    super::verify::verify(cluster, &find(cluster, name)?, repair).await
}

/// Makes windows of a table due by force, all if no range is given; failed ones are tried again.
///
/// # Errors
/// `NotFound`; `InvalidArgument` for a range that is empty.
pub async fn run_now(cluster: &Arc<Cluster>, runner: Option<&Arc<Runner>>, name: &str, range: Option<(Micros, Micros)>) -> Result<()> {
    let definition = find(cluster, name)?;
    let windows = range.map_or_else(RangeSet::all, |(start, end)| RangeSet::of(start, end));
    if windows.is_empty() {
        return Err(Error::invalid("a range of times must end after its start"));
    }
    cluster.submit(Command::MarkDirty { name: definition.name, windows }).await?;
    if let Some(runner) = runner {
        runner.resume(definition.table);
    }
    Ok(())
}

/// Lets a table rest, or ends its rest; ending it also tries failed windows again.
///
/// # Errors
/// `NotFound`.
pub async fn pause(cluster: &Arc<Cluster>, runner: Option<&Arc<Runner>>, name: &str, paused: bool) -> Result<()> {
    let definition = find(cluster, name)?;
    cluster.submit(Command::PauseDerived { name: definition.name, paused }).await?;
    if let Some(runner) = runner.filter(|_| !paused) {
        runner.resume(definition.table);
    }
    Ok(())
}

fn find(cluster: &Cluster, name: &str) -> Result<Definition> {
    let catalog = cluster.catalog();
    catalog.definition(name).cloned().ok_or_else(|| {
        let near = near(name, catalog.definitions.values().map(|d| d.name.as_str()));
        let hint = if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) };
        Error::not_found(format!("no definition makes a table '{name}'{hint}"))
    })
}
