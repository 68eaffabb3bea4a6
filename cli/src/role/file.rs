//! Settings in a YAML file, and where in it they stand.

use super::schema::Field;
use anyhow::{Context, Result, bail};
use serde_yaml_ng::{Mapping, Value};
use std::path::{Path, PathBuf};

/// Names that are this alike are taken for one another.
const ALIKE: f64 = 0.8;

/// A file of settings, all of which exist.
#[derive(Clone, Debug, Default)]
pub struct SettingsFile {
    path: PathBuf,
    text: String,
    /// What it says.
    pub settings: Mapping,
}

impl SettingsFile {
    /// Reads a file of a role that has these settings.
    pub fn read(path: &Path, role: &str, fields: &[Field]) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))?;
        // An empty file is a file without settings.
        let settings: Option<Mapping> = match serde_yaml_ng::from_str(&text) {
            Ok(settings) => settings,
            Err(e) => bail!("{}: {e}", at(path, e.location().map(|l| (l.line(), l.column())))),
        };
        let file = Self { path: path.to_owned(), text, settings: settings.unwrap_or_default() };
        for key in file.settings.keys() {
            file.check(key, role, fields)?;
        }
        Ok(file)
    }

    fn check(&self, key: &Value, role: &str, fields: &[Field]) -> Result<()> {
        let Some(name) = key.as_str() else { bail!("{}: the name of a setting is a text, not {key:?}", self.path.display()) };
        if fields.iter().any(|f| f.name == name) {
            return Ok(());
        }
        let names: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
        let meant = nearest(name, &names).map_or_else(String::new, |n| format!(": did you mean '{n}'?"));
        bail!("{}: unknown setting '{name}'{meant} (a {role} has {})", self.place(name), names.join(", "))
    }

    /// `file:line:column` of a setting, as far as it is found.
    pub fn place(&self, name: &str) -> String {
        at(&self.path, position(&self.text, name))
    }
}

fn at(path: &Path, position: Option<(usize, usize)>) -> String {
    match position {
        Some((line, column)) => format!("{}:{line}:{column}", path.display()),
        None => path.display().to_string(),
    }
}

/// Line and column, from 1, of a key of the outermost map.
fn position(text: &str, name: &str) -> Option<(usize, usize)> {
    let starts = |line: &str| {
        let bare = line.trim_start();
        let rest = bare.trim_start_matches(['"', '\'']).strip_prefix(name)?;
        let is_key = rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':');
        is_key.then(|| line.len() - bare.len() + 1)
    };
    let found = text.lines().enumerate().filter_map(|(n, line)| Some((n + 1, starts(line)?)));
    // Something deeper may have the same name.
    found.min_by_key(|(_, column)| *column)
}

/// The name that was probably meant.
fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let alike = names.iter().map(|n| (strsim::jaro_winkler(n, name), *n));
    alike.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_where_it_stands() {
        let text = "# store: not this\nmasters:\n  - store: x\n\"store\" : /b\n";
        assert_eq!(position(text, "store"), Some((4, 1)));
        assert_eq!(position(text, "masters"), Some((2, 1)));
        assert_eq!(position("{store: /b}", "store"), None);
    }

    #[test]
    fn a_near_name_is_meant() {
        assert_eq!(nearest("sotre", &["listen", "store"]), Some("store"));
        assert_eq!(nearest("memtable-bytes", &["memtable_bytes", "cache_bytes"]), Some("memtable_bytes"));
        assert_eq!(nearest("colour", &["listen", "store"]), None);
    }
}
