use crate::definition::of_yaml;
use crate::problem::Problem;
use crate::template::Templates;
use common::schema::TableSpec;
use common::{Error, Result};
use serde::Deserialize;
use serde_yaml_ng::with::singleton_map_recursive;
use std::collections::BTreeMap;
use std::path::Path;

/// A project's files by their path within it, with `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Project {
    files: BTreeMap<String, String>,
}

/// `stele.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    variables: BTreeMap<String, serde_json::Value>,
}

const SETTINGS: &str = "stele.yaml";

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
        for (name, endings) in [("sources", &["yaml", "yml"][..]), ("derived", &["yaml", "yml", "sql"]), ("macros", &["jinja"])] {
            read_folder(folder, name, endings, &mut files)?;
        }
        if folder.join(SETTINGS).is_file() {
            files.insert(SETTINGS.into(), read(&folder.join(SETTINGS))?);
        }
        Ok(Self { files })
    }

    /// The file of this path.
    pub(super) fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Definitions by path, in order.
    pub(super) fn definitions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.yaml_under("derived/")
    }

    fn yaml_under(&self, folder: &'static str) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(move |(path, _)| path.starts_with(folder) && (path.ends_with(".yaml") || path.ends_with(".yml")))
    }

    /// Raw tables, each with its file: as declared, or what is wrong with the file.
    pub(super) fn sources(&self) -> impl Iterator<Item = (&str, &str, Result<TableSpec, Problem>)> {
        self.yaml_under("sources/").map(|(path, text)| (path, text, source(path, text)))
    }

    /// Variables and macros.
    pub(super) fn templates(&self) -> Result<Templates, Problem> {
        let settings: Settings = match self.file(SETTINGS) {
            Some(text) if !text.trim().is_empty() => serde_yaml_ng::from_str(text).map_err(|e| of_yaml(SETTINGS, &e))?,
            _ => Settings::default(),
        };
        let macros = self.files.iter().filter_map(|(path, text)| Some((path.strip_prefix("macros/")?.to_owned(), text.clone())));
        Ok(Templates { variables: settings.variables, macros: macros.collect() })
    }
}

fn source(path: &str, text: &str) -> Result<TableSpec, Problem> {
    let spec: TableSpec =
        singleton_map_recursive::deserialize(serde_yaml_ng::Deserializer::from_str(text)).map_err(|e| of_yaml(path, &e))?;
    spec.check().map_err(|e| Problem::in_file(path, e.message))?;
    Ok(spec)
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
