//! Compiling, planning and applying the definitions of a project.

use super::seeds::{self, SeedFinding};
use crate::cluster::Cluster;
use crate::sql::Sql;
use common::environment;
use common::rpc::master::{Command, PutDefinition};
use common::schema::{Table, TableKind};
use common::{Error, Result};
use derived::Project;
use derived::definition::Seed;
use derived::plan::{Change, Entry, Plan, Put, Wanted, plan};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// The folders of a project, and its settings: paths that begin otherwise lie within `derived/`.
const PLACES: [&str; 5] = ["sources/", "seeds/", "derived/", "macros/", "stele.yaml"];

/// What applying does, or has done, to one definition.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Finding {
    /// `dataset.name`.
    pub name: String,
    /// The definition's file.
    pub file: String,
    /// `created`, `changed` (its rows are computed anew, in their place), `rebuilt` (its rows are computed anew beside what serves
    /// until they have caught up), `updated` (nothing is computed), `removed` or `unchanged`.
    pub status: &'static str,
    /// What it reads.
    pub inputs: Vec<String>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// What applying a project does, or has done.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Findings {
    /// Definitions, inputs first.
    pub tables: Vec<Finding>,
    /// Lookup tables that lie in the project.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<SeedFinding>,
    /// Sources whose tables are created.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub created: Vec<String>,
}

/// What applying a project would change.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanView {
    /// Names the definitions that it is based on; applying with it is refused once they are others.
    pub base: u64,
    /// Where; `""` is production.
    pub environment: String,
    /// Whether anything differs.
    pub changes: bool,
    /// Raw tables to create.
    pub create: Vec<String>,
    /// Every definition, inputs first.
    #[schema(value_type = Vec<Object>)]
    pub tables: Vec<Entry>,
    /// Lookup tables that lie in the project.
    pub seeds: Vec<SeedFinding>,
    /// Everything that is wrong, each with its file and line; nothing can be applied unless this is empty.
    pub problems: Vec<String>,
}

/// What to apply and where.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The project's files by their path.
    pub files: BTreeMap<String, String>,
    /// `""` is production.
    pub environment: String,
    /// Retire what the project does not have.
    pub prune: bool,
    /// See [`PlanView::base`]; `None`: whatever there is.
    pub base: Option<u64>,
}

/// Compiles definitions against the tables of the cluster and says what applying them would do.
///
/// # Errors
/// `InvalidArgument` with everything that is wrong, each with its file and line.
pub async fn validate(cluster: &Arc<Cluster>, sql: &Arc<Sql>, files: &BTreeMap<String, String>) -> Result<Findings> {
    let order = Order { files: files.clone(), ..Order::default() };
    let (plan, seeds) = planned(cluster, sql, &order).await?;
    plan.check()?;
    found(cluster, &plan, &seeds, &order).await
}

/// Says what applying would change.
///
/// # Errors
/// `InvalidArgument` for the name of the environment.
pub async fn show_plan(cluster: &Arc<Cluster>, sql: &Arc<Sql>, order: &Order) -> Result<PlanView> {
    let (plan, seeds) = planned(cluster, sql, order).await?;
    let seeds = if plan.problems.is_empty() { compared(cluster, &seeds, order).await? } else { Vec::new() };
    Ok(PlanView {
        base: plan.base,
        environment: order.environment.clone(),
        changes: !plan.is_empty() || seeds.iter().any(|s| s.status != "unchanged"),
        create: plan.create.iter().map(|s| s.name.clone()).collect(),
        problems: plan.problems.iter().map(ToString::to_string).collect(),
        tables: plan.entries,
        seeds,
    })
}

/// Applies definitions, and creates the sources that are missing: all or none. Applied ones that are not among them stay, unless
/// they are to be retired. Seeds are loaded first, as the difference to what their tables hold.
///
/// # Errors
/// As [`validate`], and the master's refusals: `FailedPrecondition` if definitions have changed since `base`.
pub async fn apply(cluster: &Arc<Cluster>, sql: &Arc<Sql>, order: &Order) -> Result<Findings> {
    let (plan, seeds) = planned(cluster, sql, order).await?;
    plan.check()?;
    // Before anything is written, so that nothing is half applied for a seed that does not fit.
    let mut found = found(cluster, &plan, &seeds, order).await?;
    if let Some(base) = order.base.filter(|base| *base != plan.base) {
        let now = plan.base;
        return Err(Error::refused(format!("definitions have changed since this was planned (then {base}, now {now}): plan again")));
    }
    for (seed, found) in seeds.iter().zip(&mut found.seeds).filter(|(_, f)| f.status != "unchanged") {
        *found = seeds::load(cluster, seed).await?;
    }
    let put = plan.put.iter().map(definition).collect::<Result<Vec<_>>>()?;
    let (create, remove) = (plan.create.clone(), plan.remove.clone());
    if !plan.is_empty() {
        cluster.submit(Command::ApplyDefinitions { create, put, remove, base: Some(plan.base) }).await?;
    }
    Ok(found)
}

async fn found(cluster: &Arc<Cluster>, plan: &Plan, seeds: &[Seed], order: &Order) -> Result<Findings> {
    let is_seed = |name: &String| seeds.iter().any(|s| s.spec.name == *name);
    let created = plan.create.iter().map(|spec| spec.name.clone()).filter(|name| !is_seed(name)).collect();
    Ok(Findings { tables: findings(plan), seeds: compared(cluster, seeds, order).await?, created })
}

/// What loading seeds would do. An environment reads production's seeds, so there is nothing to load there.
async fn compared(cluster: &Arc<Cluster>, seeds: &[Seed], order: &Order) -> Result<Vec<SeedFinding>> {
    let mut found = Vec::new();
    for seed in seeds {
        let one = seeds::compare(cluster, seed).await?;
        if !order.environment.is_empty() && one.status != "unchanged" {
            return Err(Error::refused(format!(
                "{}: seed '{}' differs from production's, which environment '{}' reads: apply it there first",
                one.file, one.name, order.environment
            )));
        }
        found.push(one);
    }
    Ok(found)
}

async fn planned(cluster: &Arc<Cluster>, sql: &Arc<Sql>, order: &Order) -> Result<(Plan, Vec<Seed>)> {
    if !order.environment.is_empty() {
        environment::check(&order.environment).map_err(Error::invalid)?;
    }
    let place = |path: &String| if PLACES.iter().any(|p| path.starts_with(p)) { path.clone() } else { format!("derived/{path}") };
    let project = Project::from_files(order.files.iter().map(|(path, text)| (place(path), text.clone())).collect());
    let catalog = cluster.catalog();
    let tables: Vec<_> = catalog.tables.iter().filter(|t| t.kind == TableKind::Raw).map(|t| Table::clone(t)).collect();
    let (sql, order) = (sql.clone(), order.clone());
    // Planning is work for a thread of its own.
    let planned = tokio::task::spawn_blocking(move || {
        let compiled = sql.compile(&project, &tables)?;
        let plan = plan(&compiled, &catalog, Wanted { environment: &order.environment, prune: order.prune })?;
        Ok((plan, compiled.seeds))
    });
    planned.await.map_err(|e| Error::internal(format!("a compiler ended: {e}")))?
}

fn findings(plan: &Plan) -> Vec<Finding> {
    let finding = |e: &Entry| Finding {
        name: e.name.clone(),
        file: e.file.clone(),
        status: match e.change {
            Change::Added => "created",
            Change::Breaking | Change::Additive | Change::Affected => "rebuilt",
            Change::Changed => "changed",
            Change::Metadata => "updated",
            Change::Removed => "removed",
            Change::Unchanged | Change::Failed | Change::Blocked => "unchanged",
        },
        inputs: e.inputs.clone(),
        warnings: e.warnings.clone(),
    };
    plan.entries.iter().map(finding).collect()
}

fn definition(put: &Put) -> Result<PutDefinition> {
    let artifact = &put.artifact;
    Ok(PutDefinition {
        environment: put.environment.clone(),
        spec: artifact.spec.clone(),
        document: artifact.to_document()?,
        fingerprint: artifact.fingerprint.clone(),
        inputs: artifact.inputs.iter().map(|i| i.name.clone()).collect(),
    })
}
