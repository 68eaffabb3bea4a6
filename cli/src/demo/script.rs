//! `demo.yaml`: what `stele demo` does with an example project.

use anyhow::{Context, Result};
use serde::Deserialize;

/// The script of one example, beside its `sources/` and `derived/` folders. Unknown keys are refused.
///
/// ```yaml
/// title: a day of a mobile game
/// events: {source: raw.game_events, generator: game}
/// reads:
///   - title: one player's evening
///     table: raw.game_events
///     pick: select user_id, '2026-01-15T18:00:00Z' as "from", '2026-01-15T19:00:00Z' as "to" from …
///     columns: [at, event_type, price]
///     limit: 8
/// queries:
///   - {title: revenue by day and device, sql: select * from game.revenue_daily order by day limit 10}
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What is played, for the first line of the output.
    pub title: String,
    /// The events and where they go.
    pub events: Events,
    /// Reads over REST, in order: an event range of one user, a derived row by key, …
    pub reads: Vec<Read>,
    /// SQL over derived tables, in order.
    pub queries: Vec<Query>,
    /// Late events to send at the end. Absent: the generator's, or none.
    #[serde(default)]
    pub late: Option<Late>,
}

/// The events of a demo. How a line becomes a row is said by the source (`from:` in its spec).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// The table (declared in `sources/`) that takes them.
    pub source: String,
    /// Makes them when no `--events` are given; without one, `--events` is required.
    #[serde(default)]
    pub generator: Option<Generator>,
    /// Set as the source's watermark after the ingest: nothing older is expected. Absent: the watermark is
    /// the wall clock less the source's lateness.
    #[serde(default)]
    pub complete_until: Option<String>,
}

/// A built-in generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generator {
    /// `examples/game`.
    Game,
}

/// `GET /v1/tables/{table}/rows`, timed and shown.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Its heading.
    pub title: String,
    /// The table read.
    pub table: String,
    /// A query whose first row gives the parameters of the read: each column is one, by its name (key parts, `from`,
    /// `to`); nulls are left out.
    pub pick: String,
    /// The columns shown; empty: all.
    #[serde(default)]
    pub columns: Vec<String>,
    /// At most so many rows.
    #[serde(default = "ten")]
    pub limit: usize,
}

fn ten() -> usize {
    10
}

/// One query, timed and shown.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Its heading.
    pub title: String,
    /// The SQL; it should end in a total order and a `LIMIT`.
    pub sql: String,
}

/// Events that come late.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Late {
    /// What they are (`two messages that arrive a month late`).
    pub title: String,
    /// Rows of the source, as its events are.
    pub events: Vec<serde_json::Value>,
}

impl Script {
    /// Reads `demo.yaml`.
    pub fn parse(text: &str) -> Result<Self> {
        serde_yaml_ng::from_str(text).context("demo.yaml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_parses_and_an_unknown_key_is_named() {
        let text = "{title: t, events: {source: raw.e, generator: game}, reads: [], queries: [{title: q, sql: select 1}]}";
        let script = Script::parse(text).unwrap();
        assert_eq!(script.events.generator, Some(Generator::Game));
        let wrong = format!("{:#}", Script::parse("{title: t, evnts: {}}").unwrap_err());
        assert!(wrong.contains("evnts"), "{wrong}");
    }
}
