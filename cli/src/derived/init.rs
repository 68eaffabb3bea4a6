//! `init`: a small project that validates and whose test holds.

use super::show::{Kind, schema};
use crate::exit::CHANGES;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `init`.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// The folder, which is made if it is not there.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

const SOURCE: &str = "# yaml-language-server: $schema=../.stele/source.json
name: raw.events
description: what users do, one row an event
owner: you
key: [user_id: string, at: timestamp desc, event_id: string]
columns:
  user_id: {description: who}
  event_type: {type: string, description: what}
  country: {type: string, description: ISO code}
time_column: at
lateness: 1h
";

const SEED: &str = "code,name\nde,Germany\nfr,France\n";

const SEED_BESIDE: &str = "# yaml-language-server: $schema=../.stele/seed.json
name: seeds.countries
description: countries by ISO code
owner: you
key: [code]
columns: {code: string, name: string}
";

const DEFINITION: &str = "# yaml-language-server: $schema=../.stele/definition.json
name: app.daily_users
description: who was active on a day, where, and how often
owner: you
columns:
  user_id: {description: who, tests: [not_null]}
  day: {description: in UTC}
  country: {description: by name; null if it is not known}
  events: {description: how often, tests: [{range: {min: 1}}]}
strategy: replace
window: {every: day}
time_column: day
key: {partition: [user_id], cluster: [day], unique: [user_id, day]}
sql: |
  select e.user_id, e.at::date as day, max(c.name) as country, count(*) as events
  from raw.events e
  left join seeds.countries c on c.code = e.country
  group by 1, 2
";

const TEST: &str = "# yaml-language-server: $schema=../.stele/test.json
table: app.daily_users
description: events of a day are counted, and its country is called by its name
window: {start: 2026-01-15}
inputs:
  raw.events:
    - {user_id: ann, at: 2026-01-15T10:00:00Z, event_id: a, country: fr}
    - {user_id: ann, at: 2026-01-15T23:59:59Z, event_id: b, country: fr}
    - {user_id: ann, at: 2026-01-16T00:00:00Z, event_id: c, country: fr}
    - {user_id: bob, at: 2026-01-15T10:00:00Z, event_id: a, country: xx}
  seeds.countries:
    - {code: fr, name: France}
expect:
  - {user_id: ann, day: 2026-01-15, country: France, events: 2}
  - {user_id: bob, day: 2026-01-15, country: null, events: 1}
";

/// Does it.
pub fn run(args: &InitArgs) -> Result<ExitCode> {
    let mut files = vec![
        ("sources/events.yaml", SOURCE.to_owned()),
        ("seeds/countries.csv", SEED.to_owned()),
        ("seeds/countries.yaml", SEED_BESIDE.to_owned()),
        ("derived/daily_users.yaml", DEFINITION.to_owned()),
        ("tests/daily_users.yaml", TEST.to_owned()),
        ("stele.yaml", "# Variables for SQL: {{ var.name }}.\nvariables: {}\n".to_owned()),
    ];
    let kinds = [
        (Kind::Definition, ".stele/definition.json"),
        (Kind::Source, ".stele/source.json"),
        (Kind::Seed, ".stele/seed.json"),
        (Kind::Test, ".stele/test.json"),
    ];
    for (kind, path) in kinds {
        files.push((path, format!("{}\n", serde_json::to_string_pretty(&schema(kind))?)));
    }
    if let Some((taken, _)) = files.iter().find(|(path, _)| !path.starts_with('.') && args.dir.join(path).exists()) {
        bail!("'{}' is there already: nothing was written", args.dir.join(taken).display());
    }
    for (path, text) in &files {
        let path = args.dir.join(path);
        let folder = path.parent().context("a file of a project lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder '{}'", folder.display()))?;
        std::fs::write(&path, text).with_context(|| format!("cannot write '{}'", path.display()))?;
        println!("{}", path.display());
    }
    println!("next: stele derived validate {0}; stele derived test {0}", args.dir.display());
    Ok(ExitCode::from(CHANGES))
}
