use super::compiler::Compiler;
use super::files::Project;
use crate::compile::{Draft, NewSession, Planner, sql_problem};
use crate::definition::{self, Seed, Source};
use crate::document::Artifact;
use crate::problem::Problem;
use crate::template::{Origin, Renderer};
use common::schema::Table;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A compiled project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    /// Raw tables that the project declares.
    pub sources: Vec<Source>,
    /// Lookup tables that lie in the project.
    pub seeds: Vec<Seed>,
    /// Derived tables, inputs first; failed ones at the end.
    pub nodes: Vec<Node>,
    /// What is wrong with files that are no definitions.
    pub problems: Vec<Problem>,
    /// Tables that definitions read and nobody knows.
    pub unknown: BTreeSet<String>,
}

/// One definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// `dataset.name`; the file's path if the file does not say.
    pub name: String,
    /// Relative to the project.
    pub file: String,
    /// What became of it.
    pub state: NodeState,
}

/// What became of a definition.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeState {
    /// It compiles.
    Compiled(Arc<Artifact>),
    /// It is wrong.
    Failed(Problem),
    /// It reads tables that are wrong: these.
    Blocked(Vec<String>),
}

impl Compiled {
    /// Compiled definitions, inputs first.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        self.nodes.iter().filter_map(|n| match &n.state {
            NodeState::Compiled(artifact) => Some(artifact.as_ref()),
            _ => None,
        })
    }

    /// All that is wrong.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let failed = self.nodes.iter().filter_map(|n| match &n.state {
            NodeState::Failed(problem) => Some(problem),
            _ => None,
        });
        self.problems.iter().chain(failed)
    }
}

impl Project {
    /// Compiles all definitions. `cluster`: raw tables that exist; the project's own sources win over them.
    #[must_use]
    pub fn compile(&self, new_session: NewSession<'_>, cluster: &[Table]) -> Compiled {
        match Compiler::new(new_session) {
            Ok(mut compiler) => compiler.compile(self, cluster),
            Err(e) => Compiled { problems: vec![Problem::in_file("", e.message)], ..Compiled::default() },
        }
    }

    /// Reads a definition and its SQL, without resolving it.
    pub(super) fn draft(&self, file: &str, yaml: &str, renderer: &Renderer, planner: &Planner) -> Result<Draft, Problem> {
        let definition = definition::parse(file, yaml)?;
        let (sql_file, lines_before, source) = match sql_file(file, &definition.sql) {
            Some(path) => {
                let text = self.file(&path).ok_or_else(|| Problem::at_key(file, yaml, "sql", format!("sql: there is no file '{path}'")))?;
                (path, 0, text.to_owned())
            }
            None => (file.to_owned(), lines_before_inline(yaml), definition.sql.clone()),
        };
        let rendered = renderer.render(Origin { file: &sql_file, lines_before }, &source)?;
        let wrong = |e: common::Error| sql_problem(&sql_file, yaml, file, lines_before, &e.message);
        let parsed = planner.read(&rendered, definition.window.is_some()).map_err(wrong)?;
        Ok(Draft { file: file.into(), yaml: yaml.into(), sql_file: sql_file.clone(), lines_before, source, parsed, definition })
    }
}

/// The path of the file, if `sql` names one.
pub(super) fn sql_file(file: &str, sql: &str) -> Option<String> {
    let sql = sql.trim();
    let is_name = sql.ends_with(".sql") && !sql.contains(char::is_whitespace);
    is_name.then(|| file.rsplit_once('/').map_or_else(|| sql.to_owned(), |(folder, _)| format!("{folder}/{sql}")))
}

/// Lines of a YAML file before its inline SQL.
fn lines_before_inline(yaml: &str) -> usize {
    let Some((at, line)) = yaml.lines().enumerate().find(|(_, l)| l.starts_with("sql:")) else { return 0 };
    let block = line["sql:".len()..].trim_start().starts_with(['|', '>']);
    at + usize::from(block)
}
