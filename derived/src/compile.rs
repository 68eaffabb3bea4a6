//! From a definition and the schemas of what it reads to an [`Artifact`].

mod append;
mod check;
mod fingerprint;
mod inputs;
mod itself;
mod keys;
mod output;
mod privacy;
mod session;

pub use output::TIE_PART;
pub use session::NewSession;

pub(crate) use privacy::{Tags, declared};
pub(crate) use session::{Parsed, Planner};

use crate::bounds::{Question, Reach, reaches};
use crate::definition::{Definition, Late, Meaning, StrategySpec};
use crate::document::{Artifact, FORMAT, OutputWindow, Strategy, Timing};
use crate::lineage::{self, ColumnRef, Lineage};
use crate::problem::Problem;
use crate::window::Windows;
use common::schema::{Table, TableSpec};
use common::time::{Micros, parse_duration};
use common::value::ValueType;
use output::{Column, Fault};
use session::Plans;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A table that a definition may read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub table: Table,
    /// A definition makes it.
    pub derived: bool,
    /// How it is cut in time.
    pub windows: Option<Windows>,
    /// Privacy tags of its columns.
    pub tags: Tags,
    /// How far behind its owner says that it may be.
    pub freshness: Option<Duration>,
    /// It has no windows and is only ever appended to.
    pub appended: bool,
}

impl Known {
    /// Whether its rows never change: a source that is declared so, or a derived table that is appended to.
    fn is_appended(&self) -> bool {
        if self.derived { self.appended } else { self.table.spec.append_only }
    }
}

/// A definition that has been read and not yet resolved.
#[derive(Debug)]
pub(crate) struct Draft {
    pub file: String,
    pub yaml: String,
    pub definition: Definition,
    /// The file of the SQL: the definition's own if it is inline.
    pub sql_file: String,
    /// Lines of that file before the SQL.
    pub lines_before: usize,
    /// The SQL as written.
    pub source: String,
    pub parsed: Parsed,
}

/// Attempts after a failed one, if the definition does not say.
const RETRIES: u32 = 3;

impl Draft {
    /// Resolves it against the tables that it reads.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn compile(&self, planner: &Planner, known: &BTreeMap<String, Arc<Known>>) -> Result<(Artifact, Tags), Problem> {
        self.resolve(planner, known).map_err(|(key, message)| match key {
            "sql" => sql_problem(&self.sql_file, &self.yaml, &self.file, self.lines_before, &message),
            key => Problem::at_key(&self.file, &self.yaml, key, message),
        })
    }

    fn resolve(&self, planner: &Planner, known: &BTreeMap<String, Arc<Known>>) -> Result<(Artifact, Tags), Fault> {
        let definition = &self.definition;
        self.check_meaning()?;
        let reads: Vec<&Known> = self.parsed.reads.iter().filter_map(|name| known.get(name).map(Arc::as_ref)).collect();
        let in_sql = |e: common::Error| ("sql", e.message);
        let plans = planner.plan(&self.parsed).map_err(in_sql)?;
        check::determinism(&plans.analyzed).map_err(in_sql)?;
        let columns = output::columns(definition, plans.analyzed.schema())?;
        let (spec, merge) = output::table(definition, &columns)?;
        let window = self.window(&columns)?;
        let found = self.reaches(planner, &plans, &columns, window.as_ref(), &reads, &spec)?;
        let driver = match (&definition.strategy, &window) {
            (StrategySpec::Append, None) => {
                append::check_key(&spec, &definition.key.unique)?;
                Some(append::driver(&planner.optimized(&plans).map_err(in_sql)?, &reads)?)
            }
            _ => None,
        };
        let mut inputs = inputs::all(definition, window.as_ref(), &reads, found)?;
        if let Some(driver) = &driver {
            inputs::of_appended(driver, &mut inputs);
        }
        self.check_start(window.as_ref(), &inputs)?;
        itself::check_reach(&definition.name, window.as_ref(), &inputs)?;
        let strategy = match (&definition.strategy, merge) {
            (_, Some(rules)) => Strategy::Merge(rules),
            (StrategySpec::Append, _) => Strategy::Append { late: definition.late.unwrap_or(Late::Repair) },
            _ => Strategy::Replace,
        };
        let keys: Vec<_> = reads.iter().map(|k| k.table.key.iter().filter(|p| !p.hidden).map(|p| p.name.clone()).collect()).collect();
        let mut warnings = check::warnings(&plans.analyzed, &keys);
        warnings.extend(inputs::warnings(window.as_ref(), &inputs));
        let timing = timing(definition);
        warnings.extend(inputs::staleness(timing.freshness, &reads));
        let lineage = lineage::of(&plans.analyzed);
        let (tags, more) = privacy::tags(definition, &published(&spec, &columns, &lineage), &reads)?;
        warnings.extend(more);
        let tags_of = |c: &Column| tags.get(&c.name).into_iter().flat_map(BTreeMap::keys).cloned().collect();
        let column_tags = columns.iter().map(tags_of).collect();
        let mut artifact = Artifact {
            format: FORMAT,
            name: definition.name.clone(),
            file: self.file.clone(),
            yaml: self.yaml.clone(),
            source: self.source.clone(),
            sql: self.parsed.sql.clone(),
            spec,
            columns: output::outputs(&columns, lineage.columns, column_tags),
            inputs,
            strategy,
            window,
            unique: match &definition.strategy {
                StrategySpec::Merge(m) => m.key.clone(),
                _ => definition.key.unique.clone(),
            },
            tests: output::tests(definition, &columns)?,
            timing,
            uses_run_time: self.parsed.uses_run_time,
            driver,
            owner: definition.owner.clone(),
            tags: definition.tags.clone(),
            column_descriptions: descriptions(definition),
            untagged: definition.untag.iter().map(|u| (u.column.clone(), u.reason.clone())).collect(),
            conditions: lineage.conditions,
            fingerprint: String::new(),
            warnings,
        };
        artifact.fingerprint = fingerprint::of(&artifact, &plans.pruned).map_err(in_sql)?;
        Ok((artifact, tags))
    }

    /// Window ends and their meaning go together.
    fn check_meaning(&self) -> Result<(), Fault> {
        let per_window = self.definition.meaning == Meaning::PerWindow;
        if self.parsed.uses_run_time && self.definition.schedule.as_deref().is_none_or(|s| s == "on_data") {
            return Err((
                "sql",
                "the SQL uses the time of its run (now(), current_date, run_time), which is the scheduled time: write a schedule, as in \
                 schedule: every 1h"
                    .into(),
            ));
        }
        match (self.parsed.uses_window, self.definition.window.is_some(), per_window) {
            (true, false, _) => {
                Err(("sql", "the SQL uses window.start or window.end, but the table has no window: add window and time_column".into()))
            }
            (true, true, false) => Err((
                "meaning",
                "the SQL uses window.start or window.end (now() and current_date are window.end): write meaning: per_window; the table is then the union of its windows".into(),
            )),
            (false, _, true) => {
                Err(("meaning", "meaning: per_window has no effect, as the SQL uses neither window.start nor window.end: remove it".into()))
            }
            _ => Ok(()),
        }
    }

    fn window(&self, columns: &[Column]) -> Result<Option<OutputWindow>, Fault> {
        let (Some(spec), Some(time_column)) = (&self.definition.window, &self.definition.time_column) else { return Ok(None) };
        let windows = Windows::try_from(spec.clone()).map_err(|e| ("window", e))?;
        let date = output::find("time_column", "time_column", time_column, columns)?.ty == ValueType::Date;
        if date && windows.is_below_a_day() {
            return Err((
                "window",
                format!("window: '{time_column}' is a date, windows of '{}' are shorter: use day, or a timestamp", spec.every),
            ));
        }
        let start = self.definition.start.as_deref().map(|text| start(text, &windows)).transpose()?;
        let per_window = self.definition.meaning == Meaning::PerWindow;
        Ok(Some(OutputWindow { windows, time_column: time_column.clone(), date, per_window, start }))
    }

    fn reaches(
        &self,
        planner: &Planner,
        plans: &Plans,
        columns: &[Column],
        window: Option<&OutputWindow>,
        reads: &[&Known],
        spec: &TableSpec,
    ) -> Result<BTreeMap<String, (Reach, String)>, Fault> {
        let tables = reads.iter().map(|k| &k.table);
        let optimized = || planner.optimized(plans).map_err(|e| ("sql", e.message));
        let Some(window) = window else {
            let mut found = BTreeMap::new();
            if let Some(key) = self.key_positions(columns, spec) {
                keys::add(&mut found, &optimized()?, keys::Asked::Keys(&key), tables);
            }
            return Ok(found);
        };
        let time_column = columns.iter().position(|c| c.name == window.time_column).unwrap_or_default();
        let mut found = self.time_bounds(plans, time_column, window, reads);
        let is_bounded = |k: &&Known| found.get(&k.table.name).is_some_and(|(reach, _)| reach.is_bounded());
        if !window.per_window && !reads.iter().all(is_bounded) {
            keys::add(&mut found, &optimized()?, keys::Asked::Windows(time_column), tables);
        }
        Ok(found)
    }

    /// Where the columns of the row key are, if no two rows can share one.
    fn key_positions(&self, columns: &[Column], spec: &TableSpec) -> Option<Vec<usize>> {
        spec.key.iter().map(|p| columns.iter().position(|c| c.name == p.name)).collect()
    }

    fn time_bounds(&self, plans: &Plans, time_column: usize, window: &OutputWindow, reads: &[&Known]) -> BTreeMap<String, (Reach, String)> {
        let time = |k: &&Known| Some((k.table.name.clone(), k.table.time_column.clone()?));
        let times: Vec<_> = reads.iter().filter_map(time).collect();
        reaches(&Question {
            plan: &plans.analyzed,
            times: &times.iter().map(|(table, column)| (table.as_str(), column.as_str())).collect(),
            time_column,
            date: window.date,
            per_window: window.per_window,
        })
    }

    fn check_start(&self, window: Option<&OutputWindow>, inputs: &[crate::document::Input]) -> Result<(), Fault> {
        let unknown =
            window.is_some_and(|w| w.start.is_none()) && inputs.iter().all(|i| i.time.is_none() || i.name == self.definition.name);
        if unknown {
            return Err((
                "window",
                "window: no input has a time column, so there is no earliest row to begin at: write start, as in start: 2026-01-01".into(),
            ));
        }
        Ok(())
    }
}

/// A start as written: a date is midnight of the windows' zone.
fn start(text: &str, windows: &Windows) -> Result<Micros, Fault> {
    let at = Micros::parse(text).map_err(|e| ("start", format!("start: {e}")))?;
    Ok(if text.trim().len() == "2026-01-01".len() { windows.instant(at) } else { at })
}

/// The columns that readers see, with what they are made of.
fn published<'a>(spec: &TableSpec, columns: &'a [Column], lineage: &'a Lineage) -> Vec<(&'a str, &'a [ColumnRef])> {
    let is_there = |name: &str| spec.key.iter().any(|p| p.name == name) || spec.columns.iter().any(|c| c.name == name);
    let all = columns.iter().zip(&lineage.columns).map(|(c, from)| (c.name.as_str(), from.as_slice()));
    all.filter(|(name, _)| is_there(name)).collect()
}

fn timing(d: &Definition) -> Timing {
    let duration = |text: &Option<String>| -> Option<Duration> { parse_duration(text.as_deref()?).ok() };
    Timing {
        eager: d.eager,
        min_interval: duration(&d.min_interval),
        repair_interval: duration(&d.repair_interval),
        retries: d.retries.unwrap_or(RETRIES),
        timeout: duration(&d.timeout),
        freshness: duration(&d.freshness),
        // Checked when the definition was read.
        schedule: crate::definition::schedule(d).ok().flatten(),
    }
}

fn descriptions(d: &Definition) -> Vec<(String, String)> {
    d.columns.iter().filter_map(|(name, rule)| Some((name.clone(), rule.description.clone()?))).collect()
}

/// A problem with SQL, at the place that the parser names.
pub(crate) fn sql_problem(sql_file: &str, yaml: &str, file: &str, lines_before: usize, message: &str) -> Problem {
    let place = message.rsplit_once("Line: ").and_then(|(_, rest)| {
        let (line, rest) = rest.split_once(", Column: ")?;
        let column: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((line.parse::<usize>().ok()?, column.parse::<usize>().ok()?))
    });
    match place {
        // In a YAML block the column is off by its indentation, so only the line is named.
        Some((line, column)) => {
            let column = if sql_file == file { 0 } else { column };
            Problem { file: sql_file.into(), line: lines_before + line, column, message: format!("sql: {message}") }
        }
        None if sql_file == file => Problem::at_key(file, yaml, "sql", format!("sql: {message}")),
        None => Problem::in_file(sql_file, format!("sql: {message}")),
    }
}
