//! A table that reads itself: each window may read earlier ones.

use super::output::{self, Column, Fault};
use super::{Draft, Known, Planner, Tags};
use crate::definition::{Need, StrategySpec};
use crate::document::{Artifact, Input, OutputWindow};
use crate::problem::Problem;
use crate::window::Windows;
use common::ids::TableId;
use common::schema::{Table, TableKind, TableSpec};
use common::time::Micros;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Attempts until the table as declared and as compiled agree in what may be null in its key.
const ATTEMPTS: usize = 3;

impl Draft {
    /// [`Draft::compile`] of a definition that reads the table that it makes, whose columns it must therefore declare.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub(crate) fn compile_on_itself(
        &self,
        planner: &mut Planner,
        known: &BTreeMap<String, Arc<Known>>,
    ) -> Result<(Artifact, Tags), Problem> {
        let fault = |(key, message): Fault| Problem::at_key(&self.file, &self.yaml, key, message);
        let (mut spec, windows) = self.declared().map_err(fault)?;
        let mut tags = Tags::default();
        for _ in 0..ATTEMPTS {
            let table = Table::create(TableId(0), TableKind::Derived, spec.clone()).map_err(|e| Problem::in_file(&self.file, e.message))?;
            planner.register(&table).map_err(|e| Problem::in_file(&self.file, e.message))?;
            let mut known = known.clone();
            let own = Known { table, derived: true, windows: Some(windows.clone()), appended: false, tags: tags.clone(), freshness: None };
            known.insert(spec.name.clone(), Arc::new(own));
            let (artifact, new_tags) = self.compile(planner, &known).map_err(hint)?;
            if artifact.spec == spec && new_tags == tags {
                return Ok((artifact, tags));
            }
            if let Some(column) = differing(&spec, &artifact.spec) {
                return Err(fault(undeclared(&column)));
            }
            (spec, tags) = (artifact.spec, new_tags);
        }
        Err(fault(("columns", "columns: a table that reads itself must give the same types that it reads".into())))
    }

    /// The table as its definition declares it.
    fn declared(&self) -> Result<(TableSpec, Windows), Fault> {
        let definition = &self.definition;
        let Some(window) = &definition.window else {
            return Err((
                "sql",
                "the SQL reads the table that it makes, which only tables with a window may: add window and time_column".into(),
            ));
        };
        if matches!(definition.strategy, StrategySpec::Merge(_)) {
            return Err(("strategy", "strategy: a merge folds its windows, so it cannot read its own earlier ones: use replace".into()));
        }
        let windows = Windows::try_from(window.clone()).map_err(|e| ("window", e))?;
        let column = |(name, rule): (&String, &crate::definition::ColumnRule)| {
            let ty = rule.ty.ok_or_else(|| undeclared(name))?;
            Ok(Column { name: name.clone(), ty, nullable: true })
        };
        let columns = definition.columns.iter().map(column).collect::<Result<Vec<_>, Fault>>()?;
        let keys = definition.key.partition.iter().chain(&definition.key.cluster).filter_map(|w| w.split_whitespace().next());
        for name in keys.chain(definition.time_column.as_deref()) {
            columns.iter().find(|c| c.name == *name).ok_or_else(|| undeclared(name))?;
        }
        Ok((output::table(definition, &columns)?.0, windows))
    }
}

/// A column that is not found may be one of the table's own.
fn hint(problem: Problem) -> Problem {
    match problem.message.contains("No field named") {
        true => Problem {
            message: format!("{}; the table reads itself, so declare all its columns with their types", problem.message),
            ..problem
        },
        false => problem,
    }
}

fn undeclared(name: &str) -> Fault {
    ("columns", format!("columns: the table reads itself, so all its columns are declared with their types: '{name}' is not, or differs"))
}

/// A column that one of two specs has otherwise than the other.
fn differing(a: &TableSpec, b: &TableSpec) -> Option<String> {
    let typed = |spec: &TableSpec| -> BTreeSet<(String, String)> {
        let parts = spec.key.iter().map(|p| (p.name.clone(), p.ty.to_string()));
        parts.chain(spec.columns.iter().map(|c| (c.name.clone(), c.ty.to_string()))).collect()
    };
    let (a, b) = (typed(a), typed(b));
    a.symmetric_difference(&b).next().map(|(name, _)| name.clone())
}

/// Refuses a self-reference that reads the window itself or later ones.
pub(super) fn check_reach(name: &str, window: Option<&OutputWindow>, inputs: &[Input]) -> Result<(), Fault> {
    let (Some(window), Some(own)) = (window, inputs.iter().find(|i| i.name == name)) else { return Ok(()) };
    if !own.reach.is_bounded() {
        return Err(("sql", format!("the table reads itself, and not only earlier windows as far as can be told: {}", own.why)));
    }
    if own.need != Need::Complete {
        return Err(("inputs", format!("inputs: {name}: a table always waits for its own earlier windows: leave need out")));
    }
    let time = |at: Micros| own.time.as_ref().map_or(at, |t| t.value(at));
    // A year with a leap day and both changes of the clock.
    let (from, until) = (Micros(1_704_067_200_000_000), Micros(1_735_689_600_000_000));
    let late = window.windows.iter(from, until).take(MOST_WINDOWS).find(|(s, e)| own.reach.reads(&window.windows, *s, *e).end > time(*s));
    match late {
        None => Ok(()),
        Some(_) => {
            Err(("sql", "the table reads itself up to the window's end or beyond: a window may read only what ends where it starts".into()))
        }
    }
}

/// Windows of a year that are looked at.
const MOST_WINDOWS: usize = 10_000;
