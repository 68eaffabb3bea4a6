use crate::support;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// An example project.
pub struct Example {
    folder: PathBuf,
}

/// What the oracle needs of a definition.
#[derive(Debug, Deserialize)]
pub struct Derived {
    pub name: String,
    #[serde(default)]
    strategy: serde_json::Value,
    #[serde(default)]
    key: Key,
    sql: String,
}

#[derive(Debug, Default, Deserialize)]
struct Key {
    #[serde(default)]
    partition: Vec<String>,
    #[serde(default)]
    cluster: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Merge {
    key: Vec<String>,
    order_by: Option<String>,
    columns: BTreeMap<String, String>,
}

impl Example {
    /// The one of this name.
    pub fn named(name: &str) -> Self {
        Self { folder: support::example(name) }
    }

    /// Its folder of definitions.
    pub fn derived_folder(&self) -> PathBuf {
        self.folder.join("derived")
    }

    /// Its sources' files.
    pub fn sources(&self) -> Vec<PathBuf> {
        files(&self.folder.join("sources"))
    }

    /// Its queries' files.
    pub fn queries(&self) -> Vec<PathBuf> {
        files(&self.folder.join("queries"))
    }

    /// Its definitions.
    pub fn definitions(&self) -> Vec<Derived> {
        let parse = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap();
            serde_yaml_ng::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        files(&self.derived_folder()).into_iter().map(parse).collect()
    }
}

impl Derived {
    /// What the table means: its SQL over all of its inputs, in the order of its key.
    pub fn at_once(&self) -> String {
        match self.merge() {
            Some(merge) => self.ordered(&folded(&self.sql, &merge)),
            None => self.ordered(&self.sql),
        }
    }

    /// The table itself, in the same order.
    pub fn stored(&self) -> String {
        self.ordered(&format!("select * from {}", self.name))
    }

    fn merge(&self) -> Option<Merge> {
        Some(serde_json::from_value(self.strategy.get("merge")?.clone()).unwrap())
    }

    fn ordered(&self, sql: &str) -> String {
        let merged = self.merge().map(|m| m.key).unwrap_or_default();
        let parts: Vec<_> = self.key.partition.iter().chain(&self.key.cluster).collect();
        let parts = if parts.is_empty() { merged.iter().collect() } else { parts };
        let columns: Vec<_> = parts.iter().map(|p| format!("\"{}\"", p.split(' ').next().unwrap())).collect();
        format!("select * from ({sql}) order by {}", columns.join(", "))
    }
}

/// The merge's fold as one query.
fn folded(sql: &str, merge: &Merge) -> String {
    let key = merge.key.join(", ");
    let fold = |(column, rule): (&String, &String)| match rule.as_str() {
        "latest" => format!("last_value({column} order by {}) as {column}", merge.order_by.as_ref().unwrap()),
        "min" | "max" | "sum" | "count" => format!("{rule}({column}) as {column}"),
        other => panic!("the oracle does not know the rule '{other}'"),
    };
    let columns: Vec<_> = merge.columns.iter().map(fold).collect();
    format!("select {key}, {} from ({sql}) group by {key}", columns.join(", "))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}
