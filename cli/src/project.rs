//! A project: sources, derived tables, and for an example the script of its demo. From a folder, or built in.

use anyhow::{Context, Result, anyhow, bail};
use common::schema::TableSpec;
use derived::definition::Source;
use derived::project::{FOLDERS, SETTINGS};
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

/// The files of a project that say what its derived tables are, by their path.
pub type Definitions = BTreeMap<String, String>;

const SCRIPT: &str = "demo.yaml";
/// Files of a project that are for who works on it, not for its tables.
const TESTS: &str = "tests/";

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

    /// A project's folder (with `derived/`, perhaps with `sources/`, `macros/` and `stele.yaml`), or its `derived/`
    /// folder alone.
    pub fn folder(path: &Path) -> Result<Self> {
        anyhow::ensure!(path.is_dir(), "'{}' is not a folder", path.display());
        let whole = path.join("derived").is_dir();
        let (root, derived) = if whole { (path.to_owned(), path.join("derived")) } else { (path.join(".."), path.to_owned()) };
        let mut files = BTreeMap::new();
        for (name, endings) in FOLDERS {
            let folder = if name == "derived" { derived.clone() } else { root.join(name) };
            if folder.is_dir() {
                read_folder(&folder, &format!("{name}/"), endings, &mut files)?;
            }
        }
        for name in [SETTINGS, SCRIPT].iter().filter(|name| root.join(name).is_file()) {
            files.insert((*name).to_owned(), read(&root.join(name))?);
        }
        Ok(Self { name: path.display().to_string(), files })
    }

    /// The text of `demo.yaml`.
    pub fn script(&self) -> Result<&str> {
        self.files.get(SCRIPT).map(String::as_str).with_context(|| format!("project '{}' has no {SCRIPT}", self.name))
    }

    /// The tables of `sources/`.
    pub fn sources(&self) -> Result<Vec<TableSpec>> {
        let yaml = self.files.iter().filter(|(path, _)| path.starts_with("sources/") && path.ends_with(".yaml"));
        yaml.map(|(path, text)| Ok(Source::parse(path, text).map_err(|e| anyhow!("{e}"))?.spec)).collect()
    }

    /// All files that count.
    pub fn all(&self) -> derived::Project {
        derived::Project::from_files(self.files.iter().filter(|(path, _)| counts(path)).map(|(p, t)| (p.clone(), t.clone())).collect())
    }

    /// What says what the derived tables are: `derived/`, `sources/`, `seeds/`, `macros/` and `stele.yaml`.
    pub fn definitions(&self) -> Result<Definitions> {
        if self.under("derived/").next().is_none() {
            bail!("'{}' has no definitions: one YAML file a derived table, in a folder 'derived'", self.name);
        }
        Ok(self
            .files
            .iter()
            .filter(|(path, _)| counts(path) && !path.starts_with(TESTS))
            .map(|(path, text)| (path.clone(), text.clone()))
            .collect())
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

/// Whether a file is part of what a project is made of.
fn counts(path: &str) -> bool {
    path == SETTINGS || path.split_once('/').is_some_and(|(dir, _)| FOLDERS.iter().any(|(name, _)| *name == dir))
}

/// Reads the files with these endings of a folder and of the folders in it.
fn read_folder(folder: &Path, prefix: &str, endings: &[&str], files: &mut BTreeMap<String, String>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder '{}'", folder.display()))?;
    for entry in entries {
        let path: PathBuf = entry?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            read_folder(&path, &format!("{name}/"), endings, files)?;
        } else if path.extension().is_some_and(|e| endings.iter().any(|known| e == *known)) {
            files.insert(name, read(&path)?);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))
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
            let definitions = project.definitions().unwrap();
            assert!(definitions.len() > 6 && definitions.keys().all(|path| !path.starts_with("queries/") && path != SCRIPT), "{name}");
        }
    }

    #[test]
    fn a_folder_is_a_project_or_its_derived_tables() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("derived/a.yaml", "a"),
            ("derived/deep/b.sql", "b"),
            ("sources/s.yaml", "name: raw.s"),
            ("macros/m.jinja", "m"),
            ("README.md", "no"),
        ] {
            std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(path), text).unwrap();
        }
        for folder in [dir.path().to_owned(), dir.path().join("derived")] {
            let project = Project::folder(&folder).unwrap();
            let paths: Vec<_> = project.definitions().unwrap().into_keys().collect();
            assert_eq!(paths, ["derived/a.yaml", "derived/deep/b.sql", "macros/m.jinja", "sources/s.yaml"]);
            assert_eq!(project.sources().unwrap()[0].name, "raw.s");
        }
    }

    #[test]
    fn an_unknown_example_lists_those_there_are() {
        let wrong = Project::example("gaem").unwrap_err().to_string();
        assert!(wrong.contains("gaem") && wrong.contains("game"), "{wrong}");
    }
}
