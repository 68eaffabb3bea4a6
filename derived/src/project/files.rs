use crate::definition::{Seed, Source};
use crate::problem::Problem;
use crate::template::Templates;
use crate::unit_test::UnitTest;
use crate::yaml;
use common::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A project's files by their path within it, with `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Project {
    files: BTreeMap<String, String>,
}

/// Folders of a project, each with the endings of the files in it that count.
pub const FOLDERS: [(&str, &[&str]); 5] = [
    ("sources", &["yaml", "yml"]),
    ("seeds", &["csv", "yaml", "yml"]),
    ("derived", &["yaml", "yml", "sql"]),
    ("macros", &["jinja"]),
    ("tests", &["yaml", "yml"]),
];

/// `stele.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// What templates find under `var`.
    #[serde(default)]
    variables: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    lint: LintSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LintSettings {
    /// Rules that are not asked for.
    #[serde(default)]
    off: Vec<String>,
}

/// Settings of a project.
pub const SETTINGS: &str = "stele.yaml";

impl Project {
    /// A project of these files, by their path within it (`derived/revenue.yaml`).
    #[must_use]
    pub fn from_files(files: BTreeMap<String, String>) -> Self {
        Self { files }
    }

    /// Reads a project's folder.
    ///
    /// # Errors
    /// `NotFound` if it is no folder, `InvalidArgument` for a file that cannot be read as text.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::not_found(format!("'{}' is not a folder: name a project's folder", folder.display())));
        }
        let mut files = BTreeMap::new();
        for (name, endings) in FOLDERS {
            read_folder(folder, name, endings, &mut files)?;
        }
        if folder.join(SETTINGS).is_file() {
            files.insert(SETTINGS.into(), read(&folder.join(SETTINGS))?);
        }
        Ok(Self { files })
    }

    /// The file of this path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// All files by path, in order.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Definitions by path, in order.
    pub fn definitions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.yaml_under("derived/")
    }

    fn yaml_under(&self, folder: &'static str) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(move |(path, _)| path.starts_with(folder) && (path.ends_with(".yaml") || path.ends_with(".yml")))
    }

    /// Raw tables, each with its file: as declared, or what is wrong with the file.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &str, Result<Source, Problem>)> {
        self.yaml_under("sources/").map(|(path, text)| (path, text, Source::parse(path, text)))
    }

    /// Lookup tables, each with its CSV file and the text that may name it.
    pub fn seeds(&self) -> impl Iterator<Item = (&str, &str, Result<Seed, Problem>)> {
        let sheets = self.files().filter(|(path, _)| path.starts_with("seeds/") && path.ends_with(".csv"));
        sheets.map(|(path, text)| {
            let stem = path.trim_end_matches(".csv");
            let beside = ["yaml", "yml"].iter().find_map(|e| self.files.get_key_value(&format!("{stem}.{e}")));
            let beside = beside.map(|(path, text)| (path.as_str(), text.as_str()));
            (path, beside.map_or("", |(_, text)| text), Seed::parse(path, text, beside))
        })
    }

    /// YAML files of `seeds/` without a CSV file.
    pub(super) fn stray_seeds(&self) -> impl Iterator<Item = Problem> {
        let stray = |path: &&str| !self.files.contains_key(&format!("{}.csv", path.trim_end_matches(".yml").trim_end_matches(".yaml")));
        let message = "there is no CSV file of this name beside it: rename or remove it";
        self.yaml_under("seeds/").map(|(path, _)| path).filter(stray).map(move |path| Problem::in_file(path, message))
    }

    /// Unit tests, each as read, or what is wrong with its file.
    pub fn tests(&self) -> impl Iterator<Item = Result<UnitTest, Problem>> {
        self.yaml_under("tests/").map(|(path, text)| UnitTest::parse(path, text))
    }

    fn settings(&self) -> Result<Settings, Problem> {
        Ok(match self.file(SETTINGS) {
            Some(text) if !text.trim().is_empty() => yaml::read(SETTINGS, text)?,
            _ => Settings::default(),
        })
    }

    /// The variables of `stele.yaml`.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn variables(&self) -> Result<BTreeMap<String, serde_json::Value>, Problem> {
        Ok(self.settings()?.variables)
    }

    /// Lint rules that the project turns off.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn lint_off(&self) -> Result<Vec<String>, Problem> {
        Ok(self.settings()?.lint.off)
    }

    /// Variables and macros.
    pub(super) fn templates(&self) -> Result<Templates, Problem> {
        let settings = self.settings()?;
        let macros = self.files.iter().filter_map(|(path, text)| Some((path.strip_prefix("macros/")?.to_owned(), text.clone())));
        Ok(Templates { variables: settings.variables, macros: macros.collect() })
    }
}

fn read_folder(root: &Path, folder: &str, endings: &[&str], files: &mut BTreeMap<String, String>) -> Result<()> {
    let path = root.join(folder);
    if !path.is_dir() {
        return Ok(());
    }
    let wrong = |e: std::io::Error| Error::invalid(format!("cannot read folder '{}': {e}", path.display()));
    for entry in std::fs::read_dir(&path).map_err(wrong)? {
        let entry = entry.map_err(wrong)?.path();
        let Some(name) = entry.file_name().and_then(|n| n.to_str()) else { continue };
        let inside = format!("{folder}/{name}");
        if entry.is_dir() {
            read_folder(root, &inside, endings, files)?;
        } else if endings.iter().any(|e| entry.extension().is_some_and(|x| x == *e)) {
            files.insert(inside, read(&entry)?);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::invalid(format!("cannot read '{}': {e}", path.display())))
}
