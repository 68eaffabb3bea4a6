//! `stele config`: what can be set, and what is.

use crate::role::{Field, GatewayArgs, Kind, MasterArgs, RoleConfig, Settings, TabletServerArgs, fields, schema};
use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use common::config::{GatewayConfig, MasterConfig, TabletServerConfig};
use std::fmt::Write;
use std::process::ExitCode;

/// Columns of a comment.
const WIDTH: usize = 100;

/// What to show.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON schema of a role's settings.
    Schema {
        /// Whose.
        role: Role,
    },
    /// Print a YAML file with all settings of a role, what they mean, and their defaults.
    Example {
        /// Whose.
        role: Role,
    },
    /// Print the settings that a role would run with, given this file, these options and this environment.
    #[command(subcommand)]
    Show(ShowCommand),
}

/// A role.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Role {
    Master,
    Tabletserver,
    Gateway,
}

/// A role and its options.
#[derive(Debug, Subcommand)]
pub enum ShowCommand {
    /// Of a master.
    Master(MasterArgs),
    /// Of a tablet server.
    Tabletserver(TabletServerArgs),
    /// Of a gateway.
    Gateway(GatewayArgs),
}

/// Shows it.
pub fn run(command: ConfigCommand) -> Result<ExitCode> {
    let text = match command {
        ConfigCommand::Schema { role } => {
            format!("{:#}\n", of(role, schema::<MasterConfig>, schema::<TabletServerConfig>, schema::<GatewayConfig>))
        }
        ConfigCommand::Example { role } => of(role, example::<MasterConfig>, example::<TabletServerConfig>, example::<GatewayConfig>)?,
        ConfigCommand::Show(ShowCommand::Master(settings)) => show(&settings)?,
        ConfigCommand::Show(ShowCommand::Tabletserver(settings)) => show(&settings)?,
        ConfigCommand::Show(ShowCommand::Gateway(settings)) => show(&settings)?,
    };
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

fn of<T>(role: Role, master: fn() -> T, tabletserver: fn() -> T, gateway: fn() -> T) -> T {
    match role {
        Role::Master => master(),
        Role::Tabletserver => tabletserver(),
        Role::Gateway => gateway(),
    }
}

fn show<T: RoleConfig>(settings: &Settings<T>) -> Result<String> {
    Ok(serde_yaml_ng::to_string(&settings.config()?)?)
}

/// Settings that have a default are commented out.
fn example<T: RoleConfig>() -> Result<String> {
    let mut out = format!("# Settings of a {}. Options and environment variables go before this file.\n", T::ROLE);
    for field in fields::<T>() {
        out.push('\n');
        for line in wrapped(&field.doc) {
            writeln!(out, "# {line}")?;
        }
        writeln!(out, "# option --{}, environment {}{}", field.option(), field.variable(), choices(&field))?;
        let value = field.default.as_ref().or(field.example.as_ref());
        let line = match value {
            Some(value) => format!("{}: {}", field.name, serde_json::to_string(value)?),
            None => format!("{}:", field.name),
        };
        writeln!(out, "{}{line}", if field.required { "" } else { "# " })?;
    }
    Ok(out)
}

fn choices(field: &Field) -> String {
    match &field.kind {
        Kind::Choice(all) => format!("; one of {}", all.join(", ")),
        _ => String::new(),
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        match &mut lines[last] {
            line if line.is_empty() => line.push_str(word),
            line if line.len() + word.len() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_back<T: RoleConfig + PartialEq>() {
        let text = example::<T>().unwrap();
        let as_it_is: T = serde_yaml_ng::from_str(&text).unwrap();
        // With every setting said.
        let all: String = text
            .lines()
            .map(|l| {
                l.strip_prefix("# ")
                    .filter(|l| fields::<T>().iter().any(|f| l.starts_with(&format!("{}:", f.name))))
                    .unwrap_or(l)
                    .to_owned()
                    + "\n"
            })
            .collect();
        let said: T = serde_yaml_ng::from_str(&all).unwrap();
        assert!(all.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).count() == fields::<T>().len(), "{all}");
        for (name, value) in serde_json::to_value(&as_it_is).unwrap().as_object().unwrap() {
            let default = fields::<T>().into_iter().find(|f| f.name == *name).unwrap().default;
            if let Some(default) = default {
                assert_eq!((value, &serde_json::to_value(&said).unwrap()[name]), (&default, &default), "{name}");
            }
        }
    }

    #[test]
    fn the_examples_are_configurations() {
        reads_back::<MasterConfig>();
        reads_back::<TabletServerConfig>();
        reads_back::<GatewayConfig>();
    }
}
