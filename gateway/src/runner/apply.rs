//! Compiling and applying the definitions of a project.

use crate::cluster::Cluster;
use crate::sql::Sql;
use common::catalog::{Catalog, Definition};
use common::rpc::master::{Command, PutDefinition};
use common::schema::{Table, TableKind};
use common::{Error, Result};
use derived::{Artifact, Project};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use utoipa::ToSchema;

/// The folders of a project, and its settings: paths that begin otherwise lie within `derived/`.
const PLACES: [&str; 4] = ["sources/", "derived/", "macros/", "stele.yaml"];

/// What applying does, or has done, to one definition.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Finding {
    /// `dataset.name`.
    pub name: String,
    /// The definition's file.
    pub file: String,
    /// `created`, `changed` (its rows are computed anew), `updated` (nothing is computed) or `unchanged`.
    pub status: &'static str,
    /// What it reads.
    pub inputs: Vec<String>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// Compiles definitions against the tables of the cluster and says what applying them would do.
///
/// # Errors
/// `InvalidArgument` with everything that is wrong, each with its file and line.
pub async fn validate(cluster: &Arc<Cluster>, sql: &Arc<Sql>, files: &BTreeMap<String, String>) -> Result<Vec<Finding>> {
    let artifacts = compile(cluster, sql, files).await?;
    let catalog = cluster.catalog();
    artifacts.iter().map(|a| finding(&catalog, a)).collect()
}

/// Applies definitions, all or none. Applied ones that are not among them stay.
///
/// # Errors
/// As [`validate`], and the master's refusals.
pub async fn apply(cluster: &Arc<Cluster>, sql: &Arc<Sql>, files: &BTreeMap<String, String>) -> Result<Vec<Finding>> {
    let artifacts = compile(cluster, sql, files).await?;
    let catalog = cluster.catalog();
    let findings = artifacts.iter().map(|a| finding(&catalog, a)).collect::<Result<Vec<_>>>()?;
    let new = artifacts.iter().zip(&findings).filter(|(_, f)| f.status != "unchanged");
    let put = new.map(|(artifact, _)| definition(artifact)).collect::<Result<Vec<_>>>()?;
    if !put.is_empty() {
        cluster.submit(Command::ApplyDefinitions { put, remove: Vec::new() }).await?;
    }
    Ok(findings)
}

/// The definitions, inputs first.
async fn compile(cluster: &Arc<Cluster>, sql: &Arc<Sql>, files: &BTreeMap<String, String>) -> Result<Vec<Artifact>> {
    let place = |path: &String| if PLACES.iter().any(|p| path.starts_with(p)) { path.clone() } else { format!("derived/{path}") };
    let project = Project::from_files(files.iter().map(|(path, text)| (place(path), text.clone())).collect());
    let tables: Vec<_> = cluster.catalog().tables.iter().filter(|t| t.kind == TableKind::Raw).map(|t| Table::clone(t)).collect();
    let sql = sql.clone();
    // Planning is work for a thread of its own.
    let compiled = tokio::task::spawn_blocking(move || project.compile(&|| sql.context(HashMap::new()), &tables));
    let compiled = compiled.await.map_err(|e| Error::internal(format!("a compiler ended: {e}")))?;
    let problems: Vec<_> = compiled.problems().map(ToString::to_string).collect();
    match problems.is_empty() {
        true => Ok(compiled.artifacts().cloned().collect()),
        false => Err(Error::invalid(problems.join("\n"))),
    }
}

fn finding(catalog: &Catalog, artifact: &Artifact) -> Result<Finding> {
    let is_same = |old: &Definition| Ok::<_, Error>(old.document == artifact.to_document()?);
    let status = match catalog.definition(&artifact.name) {
        None => "created",
        Some(old) if is_same(old)? => "unchanged",
        Some(old) if old.fingerprint == artifact.fingerprint => "updated",
        Some(_) => "changed",
    };
    Ok(Finding {
        name: artifact.name.clone(),
        file: artifact.file.clone(),
        status,
        inputs: artifact.inputs.iter().map(|i| i.name.clone()).collect(),
        warnings: artifact.warnings.clone(),
    })
}

fn definition(artifact: &Artifact) -> Result<PutDefinition> {
    Ok(PutDefinition {
        spec: artifact.spec.clone(),
        document: artifact.to_document()?,
        fingerprint: artifact.fingerprint.clone(),
        inputs: artifact.inputs.iter().map(|i| i.name.clone()).collect(),
    })
}
