//! Compiling a project, and compiling it again after a change: what has not changed is not compiled anew.
//!
//! A draft (a definition that is read, rendered and parsed) stays as long as its texts, the variables and the macros. An
//! artifact stays as long as its draft and what its inputs look like from outside ([`Known`]). So an edit that keeps a
//! table's output schema compiles one table.

use super::files::Project;
use super::graph::Graph;
use super::nodes::{Compiled, Node, NodeState, sql_file};
use crate::compile::{Draft, Known, NewSession, Planner};
use crate::document::Artifact;
use crate::problem::Problem;
use crate::template::{Renderer, Templates};
use common::Result as CommonResult;
use common::ids::TableId;
use common::schema::{Table, TableKind};
use std::collections::HashMap;
use std::sync::Arc;

/// Compiles projects, one state after another of the same one at best.
#[derive(Debug)]
pub struct Compiler {
    planner: Planner,
    renderer: Renderer,
    /// By file.
    drafts: HashMap<String, Drafted>,
    /// By table.
    done: HashMap<String, Done>,
    /// Definitions that the last compilation resolved anew.
    resolved: usize,
}

#[derive(Debug)]
struct Drafted {
    yaml: String,
    /// The text of the SQL file that it names.
    sql: Option<String>,
    draft: Result<Arc<Draft>, Problem>,
}

#[derive(Debug)]
struct Done {
    draft: Arc<Draft>,
    inputs: Vec<Arc<Known>>,
    result: Result<(Arc<Artifact>, Arc<Known>), Problem>,
}

impl Compiler {
    /// A compiler with the dialect and functions of these sessions.
    ///
    /// # Errors
    /// `Internal` if no session can be made.
    pub fn new(new_session: NewSession<'_>) -> CommonResult<Self> {
        let (planner, renderer) = (Planner::new(&new_session()?), Renderer::new(Templates::default()));
        Ok(Self { planner, renderer, drafts: HashMap::new(), done: HashMap::new(), resolved: 0 })
    }

    /// How many definitions the last compilation resolved anew.
    #[must_use]
    pub fn resolved(&self) -> usize {
        self.resolved
    }

    /// Compiles all definitions of a project. `cluster`: raw tables that exist; the project's own sources win over them.
    pub fn compile(&mut self, project: &Project, cluster: &[Table]) -> Compiled {
        let mut graph = Graph::default();
        let mut problems: Vec<Problem> = project.stray_seeds().collect();
        let templates = project.templates().unwrap_or_else(|problem| {
            problems.push(problem);
            Templates::default()
        });
        if !self.renderer.is_of(&templates) {
            self.renderer = Renderer::new(templates);
            self.drafts.clear();
        }
        for (_, text, source) in project.sources() {
            problems.extend(match source {
                Ok(source) => graph.add_source(source),
                Err(problem) => {
                    graph.broken_source(text);
                    Some(problem)
                }
            });
        }
        for (_, text, seed) in project.seeds() {
            problems.extend(match seed {
                Ok(seed) => graph.add_seed(seed),
                Err(problem) => {
                    graph.broken_source(text);
                    Some(problem)
                }
            });
        }
        graph.add_cluster(cluster);
        let mut before = std::mem::take(&mut self.drafts);
        for (path, text) in project.definitions() {
            let drafted = self.drafted(project, path, text, before.remove(path));
            graph.add(path, text, drafted.draft.clone());
            self.drafts.insert(path.to_owned(), drafted);
        }
        let nodes = self.nodes(&mut graph);
        Compiled { sources: graph.sources, seeds: graph.seeds, nodes, problems, unknown: graph.unknown }
    }

    fn drafted(&self, project: &Project, path: &str, yaml: &str, before: Option<Drafted>) -> Drafted {
        if let Some(before) = before.filter(|b| b.yaml == yaml) {
            let names = before.draft.as_ref().ok().map(|d| d.sql_file.as_str()).filter(|f| *f != path);
            if before.draft.is_ok() && names.and_then(|f| project.file(f)) == before.sql.as_deref() {
                return before;
            }
        }
        let draft = project.draft(path, yaml, &self.renderer, &self.planner).map(Arc::new);
        let sql = draft.as_ref().ok().and_then(|d| sql_file(path, &d.definition.sql)).and_then(|f| project.file(&f)).map(str::to_owned);
        Drafted { yaml: yaml.to_owned(), sql, draft }
    }

    fn nodes(&mut self, graph: &mut Graph) -> Vec<Node> {
        let mut before = std::mem::take(&mut self.done);
        self.resolved = 0;
        let mut nodes = Vec::new();
        for draft in graph.sorted() {
            let (name, file) = (draft.definition.name.clone(), draft.file.clone());
            if let Some(by) = graph.blockers(&draft) {
                nodes.push(Node { name, file, state: NodeState::Blocked(by) });
                continue;
            }
            if let Some(problem) = graph.missing(&draft) {
                graph.fail(name, &file, problem);
                continue;
            }
            let done = self.one(draft, graph, before.remove(&name));
            match &done.result {
                Ok((artifact, known)) => {
                    graph.known.insert(name.clone(), known.clone());
                    nodes.push(Node { name: name.clone(), file, state: NodeState::Compiled(artifact.clone()) });
                }
                Err(problem) => graph.fail(name.clone(), &file, problem.clone()),
            }
            self.done.insert(name, done);
        }
        nodes.append(&mut graph.failed);
        nodes
    }

    fn register(&mut self, known: &Known) -> Result<(), Problem> {
        self.planner.register(&known.table).map_err(|e| Problem::in_file("", e.message))
    }

    /// One definition whose inputs are all known: as it was compiled before, if it would be compiled the same.
    fn one(&mut self, draft: Arc<Draft>, graph: &Graph, before: Option<Done>) -> Done {
        let inputs: Vec<_> = draft.parsed.reads.iter().filter_map(|r| graph.known.get(r).cloned()).collect();
        let same = |b: &Done| Arc::ptr_eq(&b.draft, &draft) && b.inputs.len() == inputs.len() && b.inputs.iter().zip(&inputs).all(alike);
        if let Some(before) = before.as_ref().is_some_and(same).then_some(before).flatten() {
            return before;
        }
        self.resolved += 1;
        let registered = inputs.iter().try_for_each(|k| self.register(k));
        let result = registered.and_then(|()| self.resolve(&draft, graph));
        Done { draft, inputs, result }
    }

    fn resolve(&mut self, draft: &Draft, graph: &Graph) -> Result<(Arc<Artifact>, Arc<Known>), Problem> {
        let (artifact, tags) = match draft.parsed.reads.contains(&draft.definition.name) {
            true => draft.compile_on_itself(&mut self.planner, &graph.known)?,
            false => draft.compile(&self.planner, &graph.known)?,
        };
        let table =
            Table::create(TableId(0), TableKind::Derived, artifact.spec.clone()).map_err(|e| Problem::in_file(&draft.file, e.message))?;
        // What a merge publishes is folded over windows: its rows lie in none.
        let windows = artifact.window.as_ref().filter(|_| table.time_column.is_some()).map(|w| w.windows.clone());
        let known = Arc::new(Known {
            table,
            derived: true,
            windows,
            appended: artifact.driver.is_some(),
            tags,
            freshness: artifact.timing.freshness,
        });
        Ok((Arc::new(artifact), known))
    }
}

fn alike((a, b): (&Arc<Known>, &Arc<Known>)) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{EVENTS, session};
    use std::collections::BTreeMap;

    fn project(edits: &[(&str, &str)]) -> Project {
        let table = |name: &str, sql: &str| format!("name: a.{name}\nkey: {{partition: [user_id]}}\nsql: {sql}\n");
        let mut files = BTreeMap::from([
            ("sources/events.yaml".to_owned(), EVENTS.to_owned()),
            ("derived/x.yaml".to_owned(), table("x", "x.sql")),
            ("derived/x.sql".to_owned(), "select user_id, cents from raw.events".to_owned()),
            ("derived/y.yaml".to_owned(), table("y", "select user_id, cents + {{ var.more }} as cents from a.x")),
            ("derived/z.yaml".to_owned(), table("z", "select user_id, cents from a.y")),
            ("stele.yaml".to_owned(), "variables: {more: 1}".to_owned()),
        ]);
        files.extend(edits.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
        Project::from_files(files)
    }

    /// How many tables an edit makes the compiler resolve; the outcome is that of a compiler that begins anew.
    fn resolved(edits: &[(&str, &str)]) -> usize {
        let mut compiler = Compiler::new(&session).unwrap();
        let _ = compiler.compile(&project(&[]), &[]);
        assert_eq!(compiler.resolved(), 3);
        let after = project(edits);
        assert_eq!(compiler.compile(&after, &[]), after.compile(&session, &[]));
        compiler.resolved()
    }

    #[test]
    fn only_what_an_edit_reaches_is_compiled_anew() {
        assert_eq!(resolved(&[]), 0);
        assert_eq!(resolved(&[("derived/x.sql", "select user_id, cents * 2 as cents from raw.events")]), 1, "the schema stays");
        assert_eq!(
            resolved(&[("derived/x.sql", "select user_id, cents, device from raw.events")]),
            2,
            "y reads another table now, z does not"
        );
        assert_eq!(resolved(&[("derived/x.sql", "select user_id, cents::text as cents from raw.events")]), 2, "y is wrong now, z blocked");
        assert_eq!(resolved(&[("stele.yaml", "variables: {more: 2}")]), 3, "a variable may be anywhere");
        assert_eq!(resolved(&[("sources/events.yaml", &EVENTS.replace("1h", "2h"))]), 1);
        assert_eq!(resolved(&[("derived/x.sql", "selec")]), 0);
    }

    #[test]
    fn what_was_wrong_is_right_after_the_edit_that_repairs_it() {
        let mut compiler = Compiler::new(&session).unwrap();
        let broken = compiler.compile(&project(&[("derived/x.sql", "select user_id, cent from raw.events")]), &[]);
        assert_eq!((broken.artifacts().count(), broken.problems().count()), (0, 1));
        assert_eq!(compiler.compile(&project(&[]), &[]), project(&[]).compile(&session, &[]));
    }
}
