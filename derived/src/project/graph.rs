//! Definitions as a graph: who reads whom, who is broken, and who is blocked by that.

use super::nodes::{Node, NodeState};
use crate::compile::{Draft, Known, NewSession};
use crate::document::Artifact;
use crate::graph::{cycle, order};
use crate::problem::Problem;
use common::ids::TableId;
use common::schema::{Table, TableKind, TableSpec};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Graph {
    sources: Vec<TableSpec>,
    /// The file of each source.
    source_files: BTreeMap<String, String>,
    known: BTreeMap<String, Known>,
    drafts: BTreeMap<String, Draft>,
    failed: Vec<Node>,
    /// What cannot be read, by the name of what is wrong with it.
    broken: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Adds a raw table of the project; a problem if its name is taken.
    pub fn add_source(&mut self, file: &str, spec: TableSpec) -> Option<Problem> {
        if let Some(other) = self.source_files.get(&spec.name) {
            return Some(Problem::in_file(file, format!("table '{}' is declared in {other} too: remove one", spec.name)));
        }
        self.source_files.insert(spec.name.clone(), file.to_owned());
        match Table::create(TableId(0), TableKind::Raw, spec.clone()) {
            Ok(table) => {
                self.known.insert(spec.name.clone(), Known { table, derived: false, windows: None });
                self.sources.push(spec);
                None
            }
            Err(e) => Some(Problem::in_file(file, e.message)),
        }
    }

    /// Notes that a source cannot be read, under the name that its text seems to give.
    pub fn broken_source(&mut self, text: &str) {
        if let Some(name) = name_in(text) {
            self.broken.insert(name.clone(), BTreeSet::from([name]));
        }
    }

    /// Adds raw tables that exist and the project does not declare.
    pub fn add_cluster(&mut self, tables: &[Table]) {
        for table in tables.iter().filter(|t| t.kind == TableKind::Raw) {
            let known = Known { table: table.clone(), derived: false, windows: None };
            self.known.entry(table.name.clone()).or_insert(known);
        }
    }

    /// Adds a definition's draft, or what is wrong with it.
    pub fn add(&mut self, file: &str, text: &str, draft: Result<Draft, Problem>) {
        let draft = match draft {
            Ok(draft) => draft,
            Err(problem) => return self.fail(name_in(text).unwrap_or_else(|| file.to_owned()), file, problem),
        };
        let name = draft.definition.name.clone();
        let twin =
            self.drafts.get(&name).map(|d| d.file.clone()).or_else(|| self.failed.iter().find(|n| n.name == name).map(|n| n.file.clone()));
        if let Some(other) = twin {
            let both =
                |file: &str, other: &str| Problem::in_file(file, format!("table '{name}' is defined in {other} too: rename or remove one"));
            if let Some(first) = self.drafts.remove(&name) {
                self.fail(name.clone(), &first.file, both(&first.file, file));
            }
            return self.fail(name.clone(), file, both(file, &other));
        }
        if self.known.contains_key(&name) {
            let place = self.source_files.get(&name).map_or_else(|| "a raw table of the cluster".to_owned(), Clone::clone);
            let problem = Problem::at_key(file, text, "name", format!("table '{name}' is a source already ({place}): rename one"));
            return self.fail(name, file, problem);
        }
        self.drafts.insert(name, draft);
    }

    fn fail(&mut self, name: String, file: &str, problem: Problem) {
        self.broken.insert(name.clone(), BTreeSet::from([name.clone()]));
        self.failed.push(Node { name, file: file.into(), state: NodeState::Failed(problem) });
    }

    /// Compiles what can be, inputs first.
    pub fn compile(mut self, new_session: NewSession<'_>) -> (Vec<TableSpec>, Vec<Node>) {
        self.fail_cycles();
        let edges = self.drafts.iter().map(|(name, d)| (name.as_str(), d.parsed.reads.iter().map(String::as_str)));
        let sorted: Vec<String> = order(edges).into_iter().map(str::to_owned).collect();
        let mut nodes = Vec::new();
        for name in sorted {
            let Some(draft) = self.drafts.remove(&name) else { continue };
            let file = draft.file.clone();
            let state = match self.compile_one(&draft, new_session) {
                Ok(Some(artifact)) => NodeState::Compiled(Box::new(artifact)),
                Ok(None) => NodeState::Blocked(self.broken.get(&name).into_iter().flatten().cloned().collect()),
                Err(problem) => {
                    self.fail(name, &file, problem);
                    continue;
                }
            };
            nodes.push(Node { name, file, state });
        }
        nodes.append(&mut self.failed);
        (self.sources, nodes)
    }

    /// `None`: it is blocked.
    fn compile_one(&mut self, draft: &Draft, new_session: NewSession<'_>) -> Result<Option<Artifact>, Problem> {
        let name = &draft.definition.name;
        let blockers: BTreeSet<String> = draft.parsed.reads.iter().filter_map(|r| self.broken.get(r)).flatten().cloned().collect();
        if !blockers.is_empty() {
            self.broken.insert(name.clone(), blockers);
            return Ok(None);
        }
        if let Some(unknown) = draft.parsed.reads.iter().find(|r| !self.known.contains_key(*r)) {
            return Err(self.unknown_table(draft, unknown));
        }
        let artifact = draft.compile(new_session, &self.known)?;
        let table =
            Table::create(TableId(0), TableKind::Derived, artifact.spec.clone()).map_err(|e| Problem::in_file(&draft.file, e.message))?;
        // What a merge publishes is folded over windows: its rows lie in none.
        let windows = artifact.window.as_ref().filter(|_| table.time_column.is_some()).map(|w| w.windows.clone());
        self.known.insert(name.clone(), Known { table, derived: true, windows });
        Ok(Some(artifact))
    }

    fn unknown_table(&self, draft: &Draft, unknown: &str) -> Problem {
        let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let near: Vec<&str> = self.known.keys().filter(|k| last(k) == last(unknown)).map(String::as_str).collect();
        let all: Vec<&str> = self.known.keys().map(String::as_str).collect();
        let (intro, names) = if near.is_empty() { ("there are", all) } else { ("did you mean", near) };
        let message = format!("sql: table '{unknown}' is neither a source nor a definition; {intro} {}", names.join(", "));
        if draft.sql_file == draft.file {
            return Problem::at_key(&draft.file, &draft.yaml, "sql", message);
        }
        Problem::in_file(&draft.sql_file, message)
    }

    fn fail_cycles(&mut self) {
        loop {
            let edges: BTreeMap<&str, Vec<&str>> =
                self.drafts.iter().map(|(name, d)| (name.as_str(), d.parsed.reads.iter().map(String::as_str).collect())).collect();
            let Some(members) = cycle(&edges) else { return };
            let members: Vec<String> = members.into_iter().map(str::to_owned).collect();
            let files: Vec<&str> = members.iter().filter_map(|m| self.drafts.get(m)).map(|d| d.file.as_str()).collect();
            let message = match members.as_slice() {
                [own] => format!("table '{own}' reads itself: self-references are not built yet"),
                _ => format!("tables read each other in a circle: {} → {} ({})", members.join(" → "), members[0], files.join(", ")),
            };
            for name in &members {
                if let Some(draft) = self.drafts.remove(name) {
                    self.fail(name.clone(), &draft.file, Problem::at_key(&draft.file, &draft.yaml, "sql", message.clone()));
                }
            }
        }
    }
}

/// The name that a broken file seems to give its table.
fn name_in(text: &str) -> Option<String> {
    let line = text.lines().find_map(|l| l.strip_prefix("name:"))?;
    let name = line.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}
