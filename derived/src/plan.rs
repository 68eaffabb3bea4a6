//! What applying a compiled project would change in a cluster, and the command that does it.

use crate::document::Artifact;
use crate::problem::Problem;
use crate::project::{Compiled, NodeState};
use common::catalog::Catalog;
use common::schema::{TableKind, TableSpec};
use common::{Error, Result};

/// What becomes of one definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new: all of its windows are computed.
    Added,
    /// Its rows may differ: all of its windows are computed anew.
    Changed,
    /// Its rows stay; only what is said of them, its tests or its timing differ.
    Described,
    /// Nothing.
    Unchanged,
    /// It is gone from the project: its table is dropped.
    Removed,
    /// It is wrong: nothing can be applied.
    Failed,
    /// It reads what is wrong: these tables.
    Blocked(Vec<String>),
}

/// A definition and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `dataset.name`.
    pub name: String,
    /// What becomes of it.
    pub change: Change,
    /// Why it is failed.
    pub problem: Option<Problem>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// The difference between a project and a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Every definition of either, inputs first, removed ones last.
    pub entries: Vec<Entry>,
    /// Raw tables to create first.
    pub create: Vec<TableSpec>,
    /// Definitions to submit, inputs first.
    pub put: Vec<Artifact>,
    /// Names of definitions to remove.
    pub remove: Vec<String>,
    /// What is wrong with the project; nothing may be applied unless this is empty.
    pub problems: Vec<Problem>,
}

/// Compares a compiled project with a cluster.
///
/// # Errors
/// `Internal` if an artifact does not encode.
pub fn plan(compiled: &Compiled, catalog: &Catalog) -> Result<Plan> {
    let mut plan = Plan { entries: Vec::new(), create: Vec::new(), put: Vec::new(), remove: Vec::new(), problems: Vec::new() };
    plan.problems.extend(compiled.problems().cloned());
    for source in &compiled.sources {
        match catalog.table(&source.name) {
            None => plan.create.push(source.clone()),
            Some(table) if table.kind == TableKind::Raw && table.spec == *source => {}
            Some(_) => plan.problems.push(differs(source)),
        }
    }
    for node in &compiled.nodes {
        let (change, problem, warnings) = match &node.state {
            NodeState::Compiled(artifact) => {
                let change = change(artifact, catalog)?;
                if change != Change::Unchanged {
                    plan.put.push(artifact.as_ref().clone());
                }
                (change, None, artifact.warnings.clone())
            }
            NodeState::Failed(problem) => (Change::Failed, Some(problem.clone()), Vec::new()),
            NodeState::Blocked(by) => (Change::Blocked(by.clone()), None, Vec::new()),
        };
        plan.entries.push(Entry { name: node.name.clone(), change, problem, warnings });
    }
    for gone in catalog.definitions.iter().filter(|d| !compiled.nodes.iter().any(|n| n.name == d.name)) {
        plan.remove.push(gone.name.clone());
        plan.entries.push(Entry { name: gone.name.clone(), change: Change::Removed, problem: None, warnings: Vec::new() });
    }
    Ok(plan)
}

fn differs(source: &TableSpec) -> Problem {
    Problem {
        message: format!(
            "source '{}' differs from the table of that name: changing a raw table is not built yet; give it another name",
            source.name
        ),
        ..Problem::in_file("", "")
    }
}

fn change(artifact: &Artifact, catalog: &Catalog) -> Result<Change> {
    let Some(applied) = catalog.definition(&artifact.name) else { return Ok(Change::Added) };
    Ok(match () {
        () if applied.fingerprint != artifact.fingerprint => Change::Changed,
        () if applied.document != artifact.to_document()? => Change::Described,
        () => Change::Unchanged,
    })
}

impl Plan {
    /// Nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.create.is_empty() && self.put.is_empty() && self.remove.is_empty()
    }

    /// The plan, if all of it may be applied.
    ///
    /// # Errors
    /// `InvalidArgument`, with all that is wrong, one a line.
    pub fn check(&self) -> Result<&Self> {
        if self.problems.is_empty() {
            return Ok(self);
        }
        let all: Vec<_> = self.problems.iter().map(ToString::to_string).collect();
        Err(Error::invalid(all.join("\n")))
    }
}
