//! A project: sources, derived tables, and for an example the script of its demo. From a folder, or built in.

use crate::table::parse_spec;
use anyhow::{Context, Result, bail};
use common::schema::TableSpec;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod built_in {
    include!(concat!(env!("OUT_DIR"), "/examples.rs"));
}

/// The files of a project, by their path within it, with `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Project {
    /// For messages: the example's name or the folder.
    pub name: String,
    files: BTreeMap<String, String>,
}

/// A file of `derived/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DerivedFile {
    /// Its path within `derived/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

const SCRIPT: &str = "demo.yaml";

impl Project {
    /// The built-in example of this name, or the project in the folder of this path.
    pub fn example(name: &str) -> Result<Self> {
        let files = Self::built_in(name);
        if files.contains_key(SCRIPT) {
            return Ok(Self { name: name.to_owned(), files });
        }
        let path = Path::new(name);
        if !path.is_dir() {
            bail!(
                "there is no example '{name}': the built-in ones are {}; a path to a folder with a {SCRIPT} is taken too",
                Self::names().join(", ")
            );
        }
        let project = Self::folder(path)?;
        anyhow::ensure!(project.files.contains_key(SCRIPT), "the folder '{name}' has no {SCRIPT}, which says what to show");
        Ok(project)
    }

    /// A project's folder (with `derived/` and perhaps `sources/`), or its `derived/` folder alone.
    pub fn folder(path: &Path) -> Result<Self> {
        anyhow::ensure!(path.is_dir(), "'{}' is not a folder", path.display());
        let mut files = BTreeMap::new();
        if path.join("derived").is_dir() {
            read_folder(path, "", &mut files)?;
        } else {
            read_folder(path, "derived/", &mut files)?;
            let sources = path.join("../sources");
            if sources.is_dir() {
                read_folder(&sources, "sources/", &mut files)?;
            }
        }
        Ok(Self { name: path.display().to_string(), files })
    }

    /// The text of `demo.yaml`.
    pub fn script(&self) -> Result<&str> {
        self.files.get(SCRIPT).map(String::as_str).with_context(|| format!("project '{}' has no {SCRIPT}", self.name))
    }

    /// The tables of `sources/`.
    pub fn sources(&self) -> Result<Vec<TableSpec>> {
        self.under("sources/").filter(|(path, _)| path.ends_with(".yaml")).map(|(path, text)| parse_spec(text, path)).collect()
    }

    /// The files of `derived/`.
    pub fn derived(&self) -> Vec<DerivedFile> {
        self.under("derived/").map(|(path, text)| DerivedFile { path: path.to_owned(), text: text.to_owned() }).collect()
    }

    fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files.iter().filter_map(move |(path, text)| Some((path.strip_prefix(folder)?, text.as_str())))
    }

    fn built_in(name: &str) -> BTreeMap<String, String> {
        let of_name = |(path, text): &(&str, &str)| Some((path.strip_prefix(name)?.strip_prefix('/')?.to_owned(), (*text).to_owned()));
        built_in::FILES.iter().filter_map(of_name).collect()
    }

    /// Built-in examples that have a script.
    fn names() -> Vec<&'static str> {
        built_in::FILES.iter().filter_map(|(path, _)| path.strip_suffix(SCRIPT)?.strip_suffix('/')).collect()
    }
}

/// Reads the YAML and SQL files of a folder and of the folders in it.
fn read_folder(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder '{}'", folder.display()))?;
    for entry in entries {
        let path: PathBuf = entry?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            read_folder(&path, &format!("{name}/"), files)?;
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "sql") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
            files.insert(name, text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Script;

    #[test]
    fn the_built_in_examples_are_whole() {
        assert_eq!(Project::names(), ["chat", "game", "github"]);
        for name in Project::names() {
            let project = Project::example(name).unwrap();
            let script = Script::parse(project.script().unwrap()).unwrap();
            let sources = project.sources().unwrap();
            assert!(sources.iter().any(|s| s.name == script.events.source), "{name}");
            assert!(project.derived().len() >= 6, "{name}");
        }
    }

    #[test]
    fn a_folder_is_a_project_or_its_derived_tables() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [("derived/a.yaml", "a"), ("derived/deep/b.sql", "b"), ("sources/s.yaml", "name: raw.s"), ("README.md", "no")] {
            std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(path), text).unwrap();
        }
        for folder in [dir.path().to_owned(), dir.path().join("derived")] {
            let project = Project::folder(&folder).unwrap();
            let paths: Vec<_> = project.derived().into_iter().map(|f| f.path).collect();
            assert_eq!(paths, ["a.yaml", "deep/b.sql"]);
            assert_eq!(project.sources().unwrap()[0].name, "raw.s");
        }
    }

    #[test]
    fn an_unknown_example_lists_those_there_are() {
        let wrong = Project::example("gaem").unwrap_err().to_string();
        assert!(wrong.contains("gaem") && wrong.contains("game"), "{wrong}");
    }
}
