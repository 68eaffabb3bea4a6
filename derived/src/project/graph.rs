//! Definitions as a graph: who reads whom, who is broken, and who is blocked by that.

use super::nodes::{Node, NodeState};
use crate::compile::{Draft, Known, declared};
use crate::definition::{ColumnNote, Seed, Source};
use crate::graph::{cycle, order};
use crate::problem::Problem;
use common::ids::TableId;
use common::schema::{Table, TableKind, TableSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Graph {
    pub sources: Vec<Source>,
    pub seeds: Vec<Seed>,
    /// The file of each source and seed.
    files: BTreeMap<String, String>,
    pub known: BTreeMap<String, Arc<Known>>,
    pub drafts: BTreeMap<String, Arc<Draft>>,
    pub failed: Vec<Node>,
    /// What cannot be read, by the name of what is wrong with it.
    pub broken: BTreeMap<String, BTreeSet<String>>,
    /// Tables that definitions read and nobody knows.
    pub unknown: BTreeSet<String>,
}

impl Graph {
    /// Adds a raw table of the project; a problem if its name is taken.
    pub fn add_source(&mut self, source: Source) -> Option<Problem> {
        let problem = self.add_table(&source.file, &source.spec, &source.notes, source.freshness);
        if problem.is_none() {
            self.sources.push(source);
        }
        problem
    }

    /// Adds a lookup table of the project; a problem if its name is taken.
    pub fn add_seed(&mut self, seed: Seed) -> Option<Problem> {
        let problem = self.add_table(&seed.file, &seed.spec, &seed.notes, None);
        if problem.is_none() {
            self.seeds.push(seed);
        }
        problem
    }

    fn add_table(
        &mut self,
        file: &str,
        spec: &TableSpec,
        notes: &BTreeMap<String, ColumnNote>,
        freshness: Option<Duration>,
    ) -> Option<Problem> {
        if let Some(other) = self.files.get(&spec.name) {
            return Some(Problem::in_file(file, format!("table '{}' is declared in {other} too: remove one", spec.name)));
        }
        self.files.insert(spec.name.clone(), file.to_owned());
        match Table::create(TableId(0), TableKind::Raw, spec.clone()) {
            Ok(table) => {
                let tags = declared(&spec.name, notes.iter().map(|(c, note)| (c.as_str(), note.tags.as_slice())));
                self.known
                    .insert(spec.name.clone(), Arc::new(Known { table, derived: false, windows: None, appended: false, tags, freshness }));
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
            let known = || {
                Arc::new(Known {
                    table: table.clone(),
                    derived: false,
                    windows: None,
                    appended: false,
                    tags: BTreeMap::new(),
                    freshness: None,
                })
            };
            self.known.entry(table.name.clone()).or_insert_with(known);
        }
    }

    /// Adds a definition's draft, or what is wrong with it.
    pub fn add(&mut self, file: &str, text: &str, draft: Result<Arc<Draft>, Problem>) {
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
            let place = self.files.get(&name).map_or_else(|| "a raw table of the cluster".to_owned(), Clone::clone);
            let problem = Problem::at_key(file, text, "name", format!("table '{name}' is a source already ({place}): rename one"));
            return self.fail(name, file, problem);
        }
        self.drafts.insert(name, draft);
    }

    pub fn fail(&mut self, name: String, file: &str, problem: Problem) {
        self.broken.insert(name.clone(), BTreeSet::from([name.clone()]));
        self.failed.push(Node { name, file: file.into(), state: NodeState::Failed(problem) });
    }

    /// Definitions, inputs first; those on a circle are failed.
    pub fn sorted(&mut self) -> Vec<Arc<Draft>> {
        self.fail_cycles();
        let edges = self.drafts.iter().map(|(name, d)| (name.as_str(), d.parsed.reads.iter().map(String::as_str)));
        let sorted: Vec<String> = order(edges).into_iter().map(str::to_owned).collect();
        sorted.iter().filter_map(|name| self.drafts.get(name).cloned()).collect()
    }

    /// What is wrong upstream of a definition, if anything is; its own readers are then blocked by the same.
    pub fn blockers(&mut self, draft: &Draft) -> Option<Vec<String>> {
        let reads = draft.parsed.reads.iter();
        let blockers: BTreeSet<String> = reads.filter_map(|r| self.broken.get(r)).flatten().cloned().collect();
        if blockers.is_empty() {
            return None;
        }
        self.broken.insert(draft.definition.name.clone(), blockers.clone());
        Some(blockers.into_iter().collect())
    }

    /// A table that a definition reads and nobody knows.
    pub fn missing(&mut self, draft: &Draft) -> Option<Problem> {
        let own = &draft.definition.name;
        let missing: Vec<&String> = draft.parsed.reads.iter().filter(|r| *r != own && !self.known.contains_key(*r)).collect();
        self.unknown.extend(missing.iter().map(|r| (*r).clone()));
        let unknown = *missing.first()?;
        let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let near: Vec<&str> = self.known.keys().filter(|k| last(k) == last(unknown)).map(String::as_str).collect();
        let meant = crate::yaml::nearest(unknown, self.known.keys().map(String::as_str));
        let hint = match (near.as_slice(), meant) {
            ([], None) => format!("there are {}", self.known.keys().take(NAMED).cloned().collect::<Vec<_>>().join(", ")),
            ([], Some(meant)) => format!("did you mean {meant}?"),
            (near, _) => format!("did you mean {}?", near.join(", ")),
        };
        let message = format!("sql: table '{unknown}' is neither a source nor a definition; {hint}");
        Some(match draft.sql_file == draft.file {
            true => Problem::at_key(&draft.file, &draft.yaml, "sql", message),
            false => Problem::in_file(&draft.sql_file, message),
        })
    }

    fn fail_cycles(&mut self) {
        loop {
            let edges: BTreeMap<&str, Vec<&str>> =
                self.drafts.iter().map(|(name, d)| (name.as_str(), d.parsed.reads.iter().map(String::as_str).collect())).collect();
            let Some(members) = cycle(&edges) else { return };
            let members: Vec<String> = members.into_iter().map(str::to_owned).collect();
            let files: Vec<&str> = members.iter().filter_map(|m| self.drafts.get(m)).map(|d| d.file.as_str()).collect();
            let message = format!("tables read each other in a circle: {} → {} ({})", members.join(" → "), members[0], files.join(", "));
            for name in &members {
                if let Some(draft) = self.drafts.remove(name) {
                    self.fail(name.clone(), &draft.file, Problem::at_key(&draft.file, &draft.yaml, "sql", message.clone()));
                }
            }
        }
    }
}

/// So many tables at most are named to someone who asked for one that is not there.
const NAMED: usize = 20;

/// The name that a broken file seems to give its table.
fn name_in(text: &str) -> Option<String> {
    let line = text.lines().find_map(|l| l.strip_prefix("name:"))?;
    let name = line.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}
