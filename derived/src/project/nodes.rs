use super::files::Project;
use super::graph::Graph;
use crate::compile::{Draft, NewSession, read, sql_problem};
use crate::definition;
use crate::document::Artifact;
use crate::problem::Problem;
use crate::template::{Origin, Templates};
use common::schema::{Table, TableSpec};

/// A compiled project.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// Raw tables that the project declares.
    pub sources: Vec<TableSpec>,
    /// Derived tables, inputs first; failed ones at the end.
    pub nodes: Vec<Node>,
    /// What is wrong with files that are no definitions.
    pub problems: Vec<Problem>,
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
    Compiled(Box<Artifact>),
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
        let mut graph = Graph::default();
        let mut problems = Vec::new();
        let templates = self.templates().unwrap_or_else(|problem| {
            problems.push(problem);
            Templates::default()
        });
        for (path, text, spec) in self.sources() {
            match spec {
                Ok(spec) => problems.extend(graph.add_source(path, spec)),
                Err(problem) => {
                    graph.broken_source(text);
                    problems.push(problem);
                }
            }
        }
        graph.add_cluster(cluster);
        for (path, text) in self.definitions() {
            graph.add(path, text, self.draft(path, text, &templates, new_session));
        }
        let (sources, nodes) = graph.compile(new_session);
        Compiled { sources, nodes, problems }
    }

    /// Reads a definition and its SQL, without resolving it.
    fn draft(&self, file: &str, yaml: &str, templates: &Templates, new_session: NewSession<'_>) -> Result<Draft, Problem> {
        let definition = definition::parse(file, yaml)?;
        let (sql_file, lines_before, source) = match sql_file(&definition.sql) {
            Some(name) => {
                let path = file.rsplit_once('/').map_or_else(|| name.to_owned(), |(folder, _)| format!("{folder}/{name}"));
                let text = self.file(&path).ok_or_else(|| Problem::at_key(file, yaml, "sql", format!("sql: there is no file '{path}'")))?;
                (path, 0, text.to_owned())
            }
            None => (file.to_owned(), lines_before_inline(yaml), definition.sql.clone()),
        };
        let rendered = templates.render(Origin { file: &sql_file, lines_before }, &source)?;
        let wrong = |e: common::Error| sql_problem(&sql_file, yaml, file, lines_before, &e.message);
        let parsed = new_session().and_then(|session| read(&session, &rendered)).map_err(wrong)?;
        Ok(Draft { file: file.into(), yaml: yaml.into(), sql_file: sql_file.clone(), lines_before, source, parsed, definition })
    }
}

/// The name of the file, if `sql` is one.
fn sql_file(sql: &str) -> Option<&str> {
    let sql = sql.trim();
    (sql.ends_with(".sql") && !sql.contains(char::is_whitespace)).then_some(sql)
}

/// Lines of a YAML file before its inline SQL.
fn lines_before_inline(yaml: &str) -> usize {
    let Some((at, line)) = yaml.lines().enumerate().find(|(_, l)| l.starts_with("sql:")) else { return 0 };
    let block = line["sql:".len()..].trim_start().starts_with(['|', '>']);
    at + usize::from(block)
}
