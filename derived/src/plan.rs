//! What applying a compiled project would change in an environment of a cluster.
//!
//! A definition whose table keeps its form is changed in its place: its windows are computed anew one by one. One whose table gets
//! another form is built beside what serves, in the environment [`NEXT`], together with the changed definitions that read it, and
//! takes its place when it has caught up.

use crate::document::Artifact;
use crate::graph;
use crate::problem::Problem;
use crate::project::{Compiled, NodeState};
use common::catalog::{Catalog, Definition};
use common::environment::{NEXT, name_in, split};
use common::schema::{Table, TableKind, TableSpec};
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of one definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new: all of its windows are computed.
    Added,
    /// Columns go, change their type, or the key is another one: it is built beside what serves.
    Breaking,
    /// It gets more columns: it is built beside what serves.
    Additive,
    /// Its table keeps its form, its rows may differ: all of its windows are computed anew.
    Changed,
    /// Its rows stay; only what is said of them, its tests or its timing differ.
    Metadata,
    /// It is not changed itself, but reads what is: an environment has a table of its own for it.
    Affected,
    /// Nothing.
    Unchanged,
    /// The project has it no more: it is retired.
    Removed,
    /// It is wrong: nothing can be applied.
    Failed,
    /// It reads what is wrong: nothing can be applied.
    Blocked,
}

/// A definition and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `dataset.name`.
    pub name: String,
    /// Its file, relative to the project; empty if it is gone.
    pub file: String,
    /// What becomes of it.
    pub change: Change,
    /// Columns that are new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns_added: Vec<String>,
    /// Columns that go, or change their type or place in the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns_lost: Vec<String>,
    /// Tables that read it, through others too: they are compared anew when its rows change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affects: Vec<String>,
    /// Tables that it waits for, as they are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<String>,
    /// Windows to compute anew; 1 for a table without windows. New tables have as many as their inputs have times.
    #[serde(default)]
    pub windows: u64,
    /// What it reads.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// What its author should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// `""` is production.
    pub environment: &'a str,
    /// Whether definitions that the project does not have are retired.
    pub prune: bool,
}

/// A definition to submit.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// Where it is built.
    pub environment: String,
    /// The definition.
    pub artifact: Artifact,
}

/// The difference between a project and an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The definitions that it is based on, see [`Catalog::definitions_version`].
    pub base: u64,
    /// Every definition of either, inputs first, removed ones last.
    pub entries: Vec<Entry>,
    /// Raw tables to create first.
    pub create: Vec<TableSpec>,
    /// Definitions to submit, inputs first.
    pub put: Vec<Put>,
    /// Names of definitions to remove, the environment's mark included.
    pub remove: Vec<String>,
    /// What is wrong with the project; nothing may be applied unless this is empty.
    pub problems: Vec<Problem>,
}

/// Compares a compiled project with an environment.
///
/// # Errors
/// `Internal` if an artifact does not encode.
pub fn plan(compiled: &Compiled, catalog: &Catalog, wanted: Wanted<'_>) -> Result<Plan> {
    let mut plan = Plan {
        base: catalog.definitions_version,
        entries: Vec::new(),
        create: Vec::new(),
        put: Vec::new(),
        remove: Vec::new(),
        problems: compiled.problems().cloned().collect(),
    };
    let created: Vec<_> = compiled.seeds.iter().map(|s| &s.spec).filter(|s| catalog.table(&s.name).is_none()).collect();
    plan.create.extend(created.into_iter().cloned());
    for source in compiled.sources.iter().map(|s| &s.spec) {
        match catalog.table(&source.name) {
            None => plan.create.push(source.clone()),
            Some(table) if table.kind == TableKind::Raw && table.spec == *source => {}
            Some(_) => plan.problems.push(differs(source)),
        }
    }
    let mut placing = Placing { catalog, wanted, beside: BTreeSet::new() };
    for node in &compiled.nodes {
        let mut entry = Entry::of(&node.name, &node.file);
        match &node.state {
            NodeState::Compiled(artifact) => placing.place(artifact, &mut entry, &mut plan)?,
            NodeState::Failed(_) => entry.change = Change::Failed,
            NodeState::Blocked(by) => (entry.change, entry.blocked_by) = (Change::Blocked, by.clone()),
        }
        plan.entries.push(entry);
    }
    placing.prune(compiled, &mut plan);
    tell_affected(&mut plan, catalog);
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

impl Entry {
    fn of(name: &str, file: &str) -> Self {
        Self {
            name: name.to_owned(),
            file: file.to_owned(),
            change: Change::Unchanged,
            columns_added: Vec::new(),
            columns_lost: Vec::new(),
            affects: Vec::new(),
            blocked_by: Vec::new(),
            windows: 0,
            inputs: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// Decides where each definition is built, inputs first.
struct Placing<'a> {
    catalog: &'a Catalog,
    wanted: Wanted<'a>,
    /// Names of definitions that are not built in the place of what serves.
    beside: BTreeSet<String>,
}

impl Placing<'_> {
    fn place(&mut self, artifact: &Artifact, entry: &mut Entry, plan: &mut Plan) -> Result<()> {
        let document = artifact.to_document()?;
        let serving = self.catalog.definition(&artifact.name);
        self.compare(artifact, &document, serving, entry);
        entry.inputs = artifact.inputs.iter().map(|i| i.name.clone()).collect();
        entry.warnings = artifact.warnings.clone();
        let reads_beside = artifact.inputs.iter().any(|i| self.beside.contains(&i.name));
        let beside = match self.wanted.environment {
            "" => matches!(entry.change, Change::Breaking | Change::Additive) || (reads_beside && entry.change != Change::Unchanged),
            _ => reads_beside || entry.change != Change::Unchanged,
        };
        if beside {
            self.beside.insert(artifact.name.clone());
            if entry.change == Change::Unchanged {
                entry.change = Change::Affected;
            }
        }
        let aside = if self.wanted.environment.is_empty() { NEXT } else { self.wanted.environment };
        let name_aside = name_in(aside, &artifact.name);
        let built = self.catalog.definition(&name_aside);
        if beside {
            if built.is_none_or(|built| built.document != document) {
                plan.put.push(Put { environment: aside.to_owned(), artifact: artifact.clone() });
            }
            return Ok(());
        }
        // What was to take its place is not wanted any more.
        plan.remove.extend(built.map(|_| name_aside));
        if entry.change != Change::Unchanged {
            plan.put.push(Put { environment: String::new(), artifact: artifact.clone() });
        }
        Ok(())
    }

    fn compare(&self, artifact: &Artifact, document: &str, serving: Option<&Definition>, entry: &mut Entry) {
        let Some(serving) = serving else {
            entry.change = Change::Added;
            return;
        };
        let table = self.catalog.table_by_id(serving.table);
        let same_form = table.is_none_or(|t| TableSpec { description: t.spec.description.clone(), ..artifact.spec.clone() } == t.spec);
        entry.change = match () {
            () if !same_form => form(table.map(AsRef::as_ref), &artifact.spec, entry),
            () if serving.fingerprint != artifact.fingerprint => Change::Changed,
            () if serving.document != document => Change::Metadata,
            () => Change::Unchanged,
        };
        if matches!(entry.change, Change::Breaking | Change::Additive | Change::Changed) {
            entry.windows = self.windows(artifact, serving);
        }
    }

    /// Windows that have been published, and so are computed anew.
    fn windows(&self, artifact: &Artifact, serving: &Definition) -> u64 {
        let Some(published) = self.catalog.published(serving.table) else { return 0 };
        match &artifact.window {
            Some(w) => published.windows.ranges().iter().map(|(start, end)| w.windows.count(*start, *end)).sum(),
            None => u64::from(published.version.0 > 0),
        }
    }

    fn prune(&self, compiled: &Compiled, plan: &mut Plan) {
        let environment = self.wanted.environment;
        if !self.wanted.prune {
            return;
        }
        let kept: BTreeSet<_> = compiled.nodes.iter().map(|n| name_in(environment, &n.name)).collect();
        let members = self.catalog.definitions.values().filter(|d| d.environment() == environment);
        for gone in members.filter(|d| !kept.contains(&d.name)) {
            plan.remove.push(gone.name.clone());
            plan.entries.push(Entry { change: Change::Removed, ..Entry::of(&split(&gone.name).1, "") });
        }
    }
}

/// How a table of another form differs: it only gets more columns, or more than that.
fn form(old: Option<&Table>, new: &TableSpec, entry: &mut Entry) -> Change {
    let Some(old) = old.map(|t| &t.spec) else { return Change::Breaking };
    let (was, is) = (columns(old), columns(new));
    entry.columns_added = is.iter().filter(|(name, _)| !was.iter().any(|(w, _)| w == name)).map(|(name, _)| name.clone()).collect();
    entry.columns_lost = was.iter().filter(|column| !is.contains(column)).map(|(name, _)| name.clone()).collect();
    let same_rest = TableSpec { columns: old.columns.clone(), description: old.description.clone(), ..new.clone() } == *old;
    if entry.columns_lost.is_empty() && same_rest { Change::Additive } else { Change::Breaking }
}

/// Key parts and columns by name, each with its form.
fn columns(spec: &TableSpec) -> Vec<(String, String)> {
    let parts = spec.key.iter().map(|p| (p.name.clone(), format!("{p:?}")));
    parts.chain(spec.columns.iter().map(|c| (c.name.clone(), format!("{c:?}")))).collect()
}

/// Notes who reads, through others too, what changes its rows.
fn tell_affected(plan: &mut Plan, catalog: &Catalog) {
    let mut reads: Vec<(String, Vec<String>)> = plan.entries.iter().map(|e| (e.name.clone(), e.inputs.clone())).collect();
    let known: BTreeSet<_> = reads.iter().map(|(name, _)| name.clone()).collect();
    let others = catalog.definitions.values().filter(|d| d.environment().is_empty() && !known.contains(&d.name));
    reads.extend(others.filter_map(|d| {
        let artifact = Artifact::from_document(&d.document).ok()?;
        Some((d.name.clone(), artifact.inputs.into_iter().map(|i| i.name).collect()))
    }));
    let inputs: BTreeMap<&str, Vec<&str>> =
        reads.iter().map(|(name, inputs)| (name.as_str(), inputs.iter().map(String::as_str).collect())).collect();
    let readers = graph::readers(&inputs);
    for entry in &mut plan.entries {
        if matches!(entry.change, Change::Breaking | Change::Additive | Change::Changed | Change::Removed) {
            let reached = graph::reached(&[entry.name.as_str()], &readers);
            entry.affects = reached.into_iter().filter(|name| *name != entry.name).map(str::to_owned).collect();
        }
    }
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
