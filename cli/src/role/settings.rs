//! A role's settings: built-in defaults, over them the `--config` file, over it the environment, over it options.
//!
//! Options, variables and what is asked of a file are made from the schema, so that each setting is defined once.

use super::file::SettingsFile;
use super::schema::{Field, Kind, RoleConfig, fields};
use anyhow::{Result, anyhow};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use common::config::{GatewayConfig, MasterConfig, TabletServerConfig};
use serde_yaml_ng::{Mapping, Value};
use std::marker::PhantomData;
use std::path::PathBuf;

/// Options of `stele master`.
pub type MasterArgs = Settings<MasterConfig>;
/// Options of `stele tabletserver`.
pub type TabletServerArgs = Settings<TabletServerConfig>;
/// Options of `stele gateway`.
pub type GatewayArgs = Settings<GatewayConfig>;

const FILE: &str = "config";

/// What a role was told on its command line and in its environment.
#[derive(Clone, Debug)]
pub struct Settings<T> {
    file: Option<PathBuf>,
    /// By options and variables.
    given: Mapping,
    role: PhantomData<T>,
}

impl<T: RoleConfig> Settings<T> {
    /// All settings together.
    pub fn config(&self) -> Result<T> {
        let fields = fields::<T>();
        let file = self.file.as_deref().map(|path| SettingsFile::read(path, T::ROLE, &fields)).transpose()?.unwrap_or_default();
        let mut settings = file.settings.clone();
        settings.extend(self.given.clone());
        serde_path_to_error::deserialize(Value::Mapping(settings)).map_err(|e| {
            let path = e.path().to_string();
            self.explain(&file, path.split(['.', '[']).next().unwrap_or_default(), &e.into_inner().to_string())
        })
    }

    /// Says where a wrong setting was given, and how a missing one can be.
    fn explain(&self, file: &SettingsFile, name: &str, message: &str) -> anyhow::Error {
        let ways = |name: &str| (name.replace('_', "-"), name.to_uppercase());
        if let Some((missing, _)) = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
            let (option, variable) = ways(missing);
            return anyhow!("'{missing}' is missing: give --{option}, set STELE_{variable}, or write it in the --config file");
        }
        if self.given.contains_key(name) {
            let (option, variable) = ways(name);
            return anyhow!("--{option} or STELE_{variable}: {message}");
        }
        if file.settings.contains_key(name) { anyhow!("{}: '{name}': {message}", file.place(name)) } else { anyhow!("settings: {message}") }
    }
}

fn argument(field: &Field) -> Arg {
    let default = field.default.as_ref().map(shown).filter(|d| !d.is_empty()).map_or_else(String::new, |d| format!(" [default: {d}]"));
    let arg = Arg::new(field.name.clone()).long(field.option()).env(field.variable()).help(format!("{}{default}", field.doc));
    let arg = arg.value_name(match field.kind {
        Kind::Number => "N",
        Kind::Switch => "true|false",
        _ => "VALUE",
    });
    match &field.kind {
        Kind::Text => arg,
        Kind::Number => arg.value_parser(value_parser!(u64)),
        Kind::Switch => arg.value_parser(value_parser!(bool)),
        Kind::List => arg.value_delimiter(',').action(ArgAction::Append),
        Kind::Choice(choices) => arg.value_parser(PossibleValuesParser::new(choices.clone())),
    }
}

/// A value as it is written after an option.
fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(all) => all.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn given(field: &Field, matches: &mut ArgMatches) -> Option<Value> {
    let name = field.name.as_str();
    match field.kind {
        Kind::Text | Kind::Choice(_) => matches.remove_one::<String>(name).map(Value::from),
        Kind::Number => matches.remove_one::<u64>(name).map(Value::from),
        Kind::Switch => matches.remove_one::<bool>(name).map(Value::from),
        Kind::List => matches.remove_many::<String>(name).map(|all| all.map(Value::from).collect()),
    }
}

impl<T: RoleConfig> Args for Settings<T> {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE).long(FILE).env("STELE_CONFIG").value_name("FILE").value_parser(value_parser!(PathBuf));
        let file = file.help("YAML file with the same settings; their environment variables and options go before it");
        command.arg(file).args(fields::<T>().iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: RoleConfig> FromArgMatches for Settings<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut matches = matches.clone();
        let file = matches.remove_one(FILE);
        let given = fields::<T>().iter().filter_map(|f| Some((f.name.as_str().into(), given(f, &mut matches)?))).collect();
        Ok(Self { file, given, role: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T: RoleConfig>(options: &[&str]) -> Settings<T> {
        let command = Settings::<T>::augment_args(Command::new("role"));
        let mut matches = command.try_get_matches_from([&["role"], options].concat()).unwrap();
        Settings::from_arg_matches_mut(&mut matches).unwrap()
    }

    fn with_file<T: RoleConfig>(text: &str, options: &[&str]) -> Result<T, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("role.yaml");
        std::fs::write(&file, text).unwrap();
        let settings = parse::<T>(&[&["--config", file.to_str().unwrap()], options].concat());
        settings.config().map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn options_win_over_the_file_and_defaults_fill_in() {
        let config: MasterConfig = with_file("data_dir: /a\nstore: /b\n", &["--store", "/c"]).unwrap();
        assert_eq!((config.data_dir, config.store.as_str(), config.listen.port()), ("/a".into(), "/c", 7700));
        let text = "data_dir: /a\nstore: /b\nmasters: [a:1]\nlog: disk\nmemtable_bytes: 5\n";
        let config: TabletServerConfig = with_file(text, &["--masters", "b:2,c:3", "--disk-cache-bytes", "7"]).unwrap();
        assert_eq!((config.masters, config.memtable_bytes, config.disk_cache_bytes), (vec!["b:2".into(), "c:3".into()], 5, Some(7)));
        let config: GatewayConfig = with_file("", &["--masters", "b:2", "--runs", "false"]).unwrap();
        assert!(!config.runs && config.name.is_none());
    }

    #[test]
    fn what_is_missing_wrong_or_unknown_is_named_with_its_place() {
        let wrong = |text: &str, options: &[&str]| with_file::<TabletServerConfig>(text, options).unwrap_err();
        let missing = wrong("", &[]);
        assert!(missing.contains("--data-dir") && missing.contains("STELE_DATA_DIR"), "{missing}");
        let unknown = wrong("data_dir: /a\n\nsotre: /c\n", &[]);
        assert!(unknown.contains("role.yaml:3:1") && unknown.contains("did you mean 'store'?"), "{unknown}");
        let good = "data_dir: /a\nstore: /b\nmasters: []\n";
        let kind = wrong(&format!("{good}memtable_bytes: many\n"), &[]);
        assert!(kind.contains("role.yaml:4:1: 'memtable_bytes'") && kind.contains("many"), "{kind}");
        let option = wrong(good, &["--listen", "nowhere"]);
        assert!(option.contains("--listen or STELE_LISTEN"), "{option}");
        let syntax = wrong("data_dir: [/a\n", &[]);
        assert!(syntax.contains("role.yaml:"), "{syntax}");
    }
}
