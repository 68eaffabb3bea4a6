//! DataFusion as a compiler: one session that knows schemas only, statements, and resolved plans.

use crate::bounds::{END_FUNCTION, START_FUNCTION};
use crate::sql::{RUN_TIME, WINDOW_END, WINDOW_START, placeholders, replace, without_clocks};
use common::schema::Table;
use common::{Error, Result};
use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, Volatility, create_udf};
use datafusion::optimizer::Optimizer;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{SetExpr, Statement as SqlStatement};
use futures::FutureExt;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Makes an empty session with the gateway's dialect and functions. Its tables are not used.
pub type NewSession<'a> = &'a dyn Fn() -> Result<SessionContext>;

/// A definition's SQL, read and not yet resolved.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// Without a semicolon at its end.
    pub sql: String,
    /// Tables that it reads, `dataset.name`.
    pub reads: BTreeSet<String>,
    /// It uses window ends.
    pub uses_window: bool,
    /// It uses the scheduled time.
    pub uses_run_time: bool,
    /// With functions in place of window ends.
    statement: Statement,
}

/// A resolved plan.
#[derive(Debug)]
pub(crate) struct Plans {
    /// Types resolved, nothing moved.
    pub analyzed: LogicalPlan,
    /// Without columns that nothing reads: what decides the rows, and no more.
    pub pruned: LogicalPlan,
}

/// Reads and resolves SQL. A session's state takes longer to make than a definition to compile, so there is one for all.
pub(crate) struct Planner {
    state: SessionState,
    catalog: Arc<MemoryCatalogProvider>,
    /// Tables that the catalog has.
    schemas: HashMap<String, SchemaRef>,
    pruning: Optimizer,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("tables", &self.schemas.len()).finish_non_exhaustive()
    }
}

impl Planner {
    /// A planner with the dialect and the functions of a session.
    ///
    /// # Errors
    /// `Internal` if the session cannot be set up.
    pub fn new(session: &SessionContext) -> Self {
        for name in [START_FUNCTION, END_FUNCTION] {
            let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
            let never =
                Arc::new(|_: &[ColumnarValue]| datafusion::common::exec_err!("a window's end is not known when a definition is compiled"));
            // Volatile, so that no rule evaluates it.
            session.register_udf(create_udf(name, Vec::new(), timestamp, Volatility::Volatile, never));
        }
        let catalog = Arc::new(MemoryCatalogProvider::new());
        session.register_catalog(session.state().config_options().catalog.default_catalog.clone(), catalog.clone());
        let pruning = Optimizer::with_rules(vec![Arc::new(OptimizeProjections::new())]);
        Self { state: session.state(), catalog, schemas: HashMap::new(), pruning }
    }

    /// Lets SQL read a table, or read it as it is now.
    ///
    /// # Errors
    /// `Internal` if the table has no dataset.
    pub fn register(&mut self, table: &Table) -> Result<()> {
        let new = table.arrow_schema();
        if self.schemas.get(&table.name) == Some(&new) {
            return Ok(());
        }
        let (dataset, name) =
            table.name.split_once('.').ok_or_else(|| Error::internal(format!("table '{}' has no dataset", table.name)))?;
        let schema = match self.catalog.schema(dataset) {
            Some(schema) => schema,
            None => {
                let schema = Arc::new(MemorySchemaProvider::new());
                self.catalog.register_schema(dataset, schema.clone()).map_err(|e| invalid(&e))?;
                schema
            }
        };
        schema.deregister_table(name).map_err(|e| invalid(&e))?;
        schema.register_table(name.into(), Arc::new(EmptyTable::new(new.clone()))).map_err(|e| invalid(&e))?;
        self.schemas.insert(table.name.clone(), new);
        Ok(())
    }

    /// Reads one SELECT. What tells the time in it means the window's end, or without windows the scheduled time.
    ///
    /// # Errors
    /// A sentence: it is not one SELECT, or reads what has no `dataset.name`.
    pub fn read(&self, sql: &str, windowed: bool) -> Result<Parsed> {
        let sql = without_clocks(sql.trim().trim_end_matches(';').trim_end(), if windowed { WINDOW_END } else { RUN_TIME });
        let (uses_window, uses_run_time) = check_placeholders(&sql, windowed)?;
        let statement = self.statement(&match uses_window || uses_run_time {
            true => replace(&sql, |name| match name {
                WINDOW_START => Some(format!("{START_FUNCTION}()")),
                WINDOW_END | RUN_TIME => Some(format!("{END_FUNCTION}()")),
                _ => None,
            }),
            false => sql.clone(),
        })?;
        check_select(&statement)?;
        let mut reads = BTreeSet::new();
        for reference in self.state.resolve_table_references(&statement).map_err(|e| invalid(&e))? {
            match (reference.catalog(), reference.schema(), reference.table()) {
                (None, Some(dataset), name) => {
                    reads.insert(format!("{dataset}.{name}"));
                }
                (None, None, name) if self.state.table_functions().contains_key(name) => {}
                _ => return Err(Error::invalid(format!("table '{reference}': write dataset.name"))),
            }
        }
        Ok(Parsed { sql, reads, uses_window, uses_run_time, statement })
    }

    fn statement(&self, sql: &str) -> Result<Statement> {
        let dialect = self.state.config_options().sql_parser.dialect;
        self.state.sql_to_statement(sql, &dialect).map_err(|e| match e {
            DataFusionError::NotImplemented(_) => one_select("more than one statement"),
            e => invalid(&e),
        })
    }

    /// Resolves SQL against the schemas of the tables that are [registered](Self::register).
    ///
    /// # Errors
    /// What does not resolve, as DataFusion says it.
    pub fn plan(&self, parsed: &Parsed) -> Result<Plans> {
        let planned = self.state.statement_to_plan(parsed.statement.clone()).now_or_never();
        let plan = planned.ok_or_else(|| Error::internal("planning against schemas alone waited for something"))?;
        let plan = plan.map_err(|e| invalid(&e))?;
        let analyzed = self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {}).map_err(|e| invalid(&e))?;
        let pruned = self.pruning.optimize(analyzed.clone(), &self.state, |_, _| {}).map_err(|e| invalid(&e))?;
        Ok(Plans { analyzed, pruned })
    }

    /// A plan as it would run. It takes longer than all else here, so it is made only for who asks.
    ///
    /// # Errors
    /// What does not resolve, as DataFusion says it.
    pub fn optimized(&self, plans: &Plans) -> Result<LogicalPlan> {
        self.state.optimizer().optimize(plans.analyzed.clone(), &self.state, |_, _| {}).map_err(|e| invalid(&e))
    }
}

/// Whether the SQL uses window ends, and the scheduled time; it may use no other placeholder.
fn check_placeholders(sql: &str, windowed: bool) -> Result<(bool, bool)> {
    let (mut uses_window, mut uses_run_time) = (false, false);
    if !sql.contains('$') {
        return Ok((false, false));
    }
    for (_, name) in placeholders(sql) {
        match name.as_str() {
            WINDOW_START | WINDOW_END => uses_window = true,
            RUN_TIME if windowed => {
                return Err(Error::invalid("run_time is that of a table without a window: write {{ window.end }}"));
            }
            RUN_TIME => uses_run_time = true,
            other => {
                return Err(Error::invalid(format!(
                    "parameter '{other}' is unknown: write {{{{ window.start }}}} and {{{{ window.end }}}}, or a variable"
                )));
            }
        }
    }
    Ok((uses_window, uses_run_time))
}

fn check_select(statement: &Statement) -> Result<()> {
    let Statement::Statement(inner) = statement else { return Err(one_select("DDL")) };
    let SqlStatement::Query(query) = inner.as_ref() else {
        return Err(one_select(inner.to_string().split_whitespace().next().unwrap_or_default()));
    };
    match query.body.as_ref() {
        SetExpr::Insert(_) | SetExpr::Update(_) if query.locks.is_empty() => Err(one_select("a change of data")),
        _ => Ok(()),
    }
}

fn one_select(found: &str) -> Error {
    Error::invalid(format!("a derived table's SQL is one SELECT (WITH is allowed), found {found}: remove the rest"))
}

/// DataFusion's refusal as ours.
fn invalid(error: &DataFusionError) -> Error {
    let text = error.strip_backtrace();
    let text =
        ["Error during planning: ", "Schema error: ", "SQL error: ", "This feature is not implemented: "].iter().fold(text, |t, p| match t
            .strip_prefix(p)
        {
            Some(rest) => rest.to_owned(),
            None => t,
        });
    Error::invalid(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_in_place_of_window_ends_keep_places() {
        assert_eq!(WINDOW_START.len(), START_FUNCTION.len() + "()".len());
        assert_eq!(WINDOW_END.len(), END_FUNCTION.len() + "()".len());
    }
}
