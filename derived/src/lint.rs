//! What is not wrong and still worth a look: rules with names, each of which a project can turn off in `stele.yaml`
//! (`lint: {off: [no-owner]}`).

use crate::document::Artifact;
use crate::project::{Compiled, Project};
use serde::Serialize;
use std::collections::BTreeSet;

/// Something worth a look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Relative to the project.
    pub file: String,
    /// The table, if it is about one.
    pub table: Option<String>,
    /// The rule's name.
    pub rule: &'static str,
    /// What was found and what to do.
    pub message: String,
}

/// All rules, with what they ask for.
pub const RULES: [(&str, &str); 9] = [
    ("no-description", "each table says what it means"),
    ("no-owner", "each table says who answers for it"),
    ("no-column-description", "each output column says what it means"),
    ("no-tests", "each table has a unit test, or a test of a column, or a unique key"),
    ("select-star", "columns are named, so that a new one upstream does not appear unasked"),
    ("unused-source", "each source and seed is read"),
    ("unused-macro", "each macro file is used"),
    ("unused-variable", "each variable is used"),
    ("stale-warning", "compiling warns of nothing"),
];

/// All findings of a compiled project but those of rules that it turns off, in order of files.
#[must_use]
pub fn lint(project: &Project, compiled: &Compiled) -> Vec<Finding> {
    let mut found = BTreeSet::new();
    let tested: BTreeSet<String> = project.tests().filter_map(Result::ok).map(|t| t.words.table).collect();
    for artifact in compiled.artifacts() {
        let of = |rule, message: String| Finding { file: artifact.file.clone(), table: Some(artifact.name.clone()), rule, message };
        found.extend(table(artifact, tested.contains(&artifact.name)).into_iter().map(|(rule, message)| of(rule, message)));
    }
    found.extend(unused_tables(compiled));
    found.extend(unused_texts(project, compiled));
    let off = project.lint_off().unwrap_or_default();
    found.into_iter().filter(|f| !off.iter().any(|rule| rule == f.rule)).collect()
}

fn table(artifact: &Artifact, tested: bool) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if artifact.spec.description.is_none() {
        found.push(("no-description", "it has no description: say what it means".to_owned()));
    }
    if artifact.owner.is_none() {
        found.push(("no-owner", "it has no owner: say who answers for it".to_owned()));
    }
    let described: BTreeSet<&str> = artifact.column_descriptions.iter().map(|(name, _)| name.as_str()).collect();
    let bare: Vec<_> = artifact.columns.iter().map(|c| c.name.as_str()).filter(|c| !described.contains(c)).collect();
    if !bare.is_empty() {
        found.push(("no-column-description", format!("columns without a description: {}", bare.join(", "))));
    }
    if !tested && artifact.tests.is_empty() && artifact.unique.is_empty() {
        found.push(("no-tests", "nothing of it is tested: add a file to tests/, tests to columns, or a unique key".to_owned()));
    }
    if has_star(&artifact.sql) {
        found.push(("select-star", "its SQL selects *: name the columns, or a new one upstream appears here unasked".to_owned()));
    }
    found.extend(artifact.warnings.iter().map(|w| ("stale-warning", w.clone())));
    found
}

/// Whether a `*` stands where a column could: not in `count(*)`, and not for a product.
fn has_star(sql: &str) -> bool {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else { return false };
    let tokens: Vec<_> = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let starts = |token: &Token| match token {
        Token::Word(w) => ["SELECT", "DISTINCT", "ALL"].iter().any(|k| w.value.eq_ignore_ascii_case(k)),
        Token::Period | Token::Comma => true,
        _ => false,
    };
    tokens.windows(2).any(|pair| pair[1] == Token::Mul && starts(&pair[0]))
}

fn unused_tables(compiled: &Compiled) -> Vec<Finding> {
    let read: BTreeSet<&str> = compiled.artifacts().flat_map(|a| a.inputs.iter().map(|i| i.name.as_str())).collect();
    let tables = compiled.sources.iter().map(|s| (&s.file, &s.spec.name)).chain(compiled.seeds.iter().map(|s| (&s.file, &s.spec.name)));
    let unread = tables.filter(|(_, name)| !read.contains(name.as_str()));
    let of = |(file, name): (&String, &String)| Finding {
        file: file.clone(),
        table: Some(name.clone()),
        rule: "unused-source",
        message: "no definition reads it".to_owned(),
    };
    unread.map(of).collect()
}

fn unused_texts(project: &Project, compiled: &Compiled) -> Vec<Finding> {
    let texts: Vec<&str> = compiled
        .artifacts()
        .map(|a| a.source.as_str())
        .chain(project.files().filter(|(path, _)| path.starts_with("macros/")).map(|(_, text)| text))
        .collect();
    let used = |word: &str| texts.iter().any(|text| text.contains(word));
    let finding = |file: &str, rule, message: String| Finding { file: file.to_owned(), table: None, rule, message };
    let macros = project.files().filter_map(|(path, _)| Some((path, path.strip_prefix("macros/")?)));
    let unused = macros.filter(|(_, name)| !used(&format!("\"{name}\"")) && !used(&format!("'{name}'")));
    let mut found: Vec<_> = unused.map(|(path, _)| finding(path, "unused-macro", "no SQL imports it".to_owned())).collect();
    for name in project.variables().unwrap_or_default().keys() {
        if !used(&format!("var.{name}")) {
            found.push(finding(crate::project::SETTINGS, "unused-variable", format!("variable '{name}': no SQL uses it")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{EVENTS, USERS, session};

    fn rules(files: &[(&str, &str)]) -> Vec<(String, &'static str)> {
        let base = [("sources/events.yaml", EVENTS), ("sources/users.yaml", USERS)];
        let project = Project::from_files(base.iter().chain(files).map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect());
        let compiled = project.compile(&session, &[]);
        assert_eq!(compiled.problems().count(), 0, "{:?}", compiled.problems().collect::<Vec<_>>());
        lint(&project, &compiled).into_iter().map(|f| (f.file, f.rule)).collect()
    }

    const GOOD: &str = "name: a.x\ndescription: d\nowner: o\ncolumns: {k: {description: k}, n: {description: n}}\nkey: {partition: [k], unique: [k]}\nsql: select user_id as k, count(*) * 2 as n from raw.events join raw.users using (user_id) group by 1\n";

    #[test]
    fn a_project_without_fault_has_no_findings() {
        assert_eq!(rules(&[("derived/x.yaml", GOOD)]), []);
    }

    #[test]
    fn each_rule_finds_what_it_is_for() {
        let bad = "name: a.x\nkey: {partition: [user_id]}\nsql: select * from raw.plain order by user_id limit 3\n";
        let plain = "name: raw.plain\nkey: [user_id: string]\nundeclared: none\n";
        let found =
            rules(&[("derived/x.yaml", bad), ("sources/plain.yaml", plain), ("macros/m.jinja", "x"), ("stele.yaml", "variables: {v: 1}")]);
        let want: BTreeSet<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
        assert_eq!(found.iter().map(|(_, rule)| *rule).collect::<BTreeSet<_>>(), want);
        assert!(found.contains(&("sources/users.yaml".to_owned(), "unused-source")), "{found:?}");
    }

    #[test]
    fn a_project_turns_rules_off_and_unit_tests_count() {
        let bare = GOOD.replace("owner: o\n", "").replace(", unique: [k]", "");
        assert_eq!(
            rules(&[("derived/x.yaml", &bare), ("stele.yaml", "lint: {off: [no-owner]}")]),
            [("derived/x.yaml".to_owned(), "no-tests")]
        );
        let test = ("tests/x.yaml", "table: a.x\nexpect: []\n");
        assert_eq!(rules(&[("derived/x.yaml", &bare), test]), [("derived/x.yaml".to_owned(), "no-owner")]);
    }
}
