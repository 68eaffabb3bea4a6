//! DataFusion as a compiler: sessions that know schemas only, statements, and resolved plans.

use crate::bounds::{END_FUNCTION, START_FUNCTION};
use crate::sql::{RUN_TIME, WINDOW_END, WINDOW_START, placeholders, replace};
use common::schema::Table;
use common::{Error, Result};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures::FutureExt;
use std::collections::BTreeSet;
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
}

/// A resolved plan.
#[derive(Debug)]
pub(crate) struct Plans {
    /// Types resolved, nothing moved.
    pub analyzed: LogicalPlan,
    /// As it would run.
    pub optimized: LogicalPlan,
}

/// Reads one SELECT.
///
/// # Errors
/// A sentence: it is not one SELECT, or reads what has no `dataset.name`.
pub(crate) fn read(session: &SessionContext, sql: &str) -> Result<Parsed> {
    let sql = sql.trim().trim_end_matches(';').trim_end().to_owned();
    let state = session.state();
    let statement = statement(&state, &sql)?;
    let Statement::Statement(inner) = &statement else { return Err(one_select("DDL")) };
    let SqlStatement::Query(query) = inner.as_ref() else {
        return Err(one_select(inner.to_string().split_whitespace().next().unwrap_or_default()));
    };
    if query.locks.is_empty()
        && matches!(
            query.body.as_ref(),
            datafusion::sql::sqlparser::ast::SetExpr::Insert(_) | datafusion::sql::sqlparser::ast::SetExpr::Update(_)
        )
    {
        return Err(one_select("a change of data"));
    }
    let mut parsed = Parsed { sql, reads: BTreeSet::new(), uses_window: false };
    for (_, name) in placeholders(&parsed.sql) {
        match name.as_str() {
            WINDOW_START | WINDOW_END => parsed.uses_window = true,
            RUN_TIME => {
                return Err(Error::invalid(
                    "run_time needs a schedule, and only schedule on_data is built: use window.end in a table with a window",
                ));
            }
            other => {
                return Err(Error::invalid(format!(
                    "parameter '{other}' is unknown: write {{{{ window.start }}}} and {{{{ window.end }}}}, or a variable"
                )));
            }
        }
    }
    for reference in state.resolve_table_references(&statement).map_err(|e| invalid(&e))? {
        match (reference.catalog(), reference.schema(), reference.table()) {
            (None, Some(dataset), name) => {
                parsed.reads.insert(format!("{dataset}.{name}"));
            }
            (None, None, name) if state.table_functions().contains_key(name) => {}
            _ => return Err(Error::invalid(format!("table '{reference}': write dataset.name"))),
        }
    }
    Ok(parsed)
}

fn one_select(found: &str) -> Error {
    Error::invalid(format!("a derived table's SQL is one SELECT (WITH is allowed), found {found}: remove the rest"))
}

fn statement(state: &SessionState, sql: &str) -> Result<Statement> {
    let dialect = state.config_options().sql_parser.dialect;
    state.sql_to_statement(sql, &dialect).map_err(|e| match e {
        DataFusionError::NotImplemented(_) => one_select("more than one statement"),
        e => invalid(&e),
    })
}

/// Resolves SQL against the schemas of `tables`.
///
/// # Errors
/// What does not resolve, as DataFusion says it.
pub(crate) fn plan<'a>(session: &SessionContext, parsed: &Parsed, tables: impl Iterator<Item = &'a Table>) -> Result<Plans> {
    for name in [START_FUNCTION, END_FUNCTION] {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        let never =
            Arc::new(|_: &[ColumnarValue]| datafusion::common::exec_err!("a window's end is not known when a definition is compiled"));
        // Volatile, so that no rule evaluates it.
        session.register_udf(create_udf(name, Vec::new(), timestamp, Volatility::Volatile, never));
    }
    register(session, tables)?;
    let state = session.state();
    let sql = replace(&parsed.sql, |name| match name {
        WINDOW_START => Some(format!("{START_FUNCTION}()")),
        WINDOW_END => Some(format!("{END_FUNCTION}()")),
        _ => None,
    });
    let planned = state.statement_to_plan(statement(&state, &sql)?).now_or_never();
    let plan = planned.ok_or_else(|| Error::internal("planning against schemas alone waited for something"))?.map_err(|e| invalid(&e))?;
    let analyzed = state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {}).map_err(|e| invalid(&e))?;
    let optimized = state.optimize(&plan).map_err(|e| invalid(&e))?;
    Ok(Plans { analyzed, optimized })
}

/// Makes these tables all that the session sees.
fn register<'a>(session: &SessionContext, tables: impl Iterator<Item = &'a Table>) -> Result<()> {
    let catalog = MemoryCatalogProvider::new();
    for table in tables {
        let (dataset, name) =
            table.name.split_once('.').ok_or_else(|| Error::internal(format!("table '{}' has no dataset", table.name)))?;
        let schema = match catalog.schema(dataset) {
            Some(schema) => schema,
            None => {
                let schema = Arc::new(MemorySchemaProvider::new());
                catalog.register_schema(dataset, schema.clone()).map_err(|e| invalid(&e))?;
                schema
            }
        };
        schema.register_table(name.into(), Arc::new(EmptyTable::new(table.arrow_schema()))).map_err(|e| invalid(&e))?;
    }
    session.register_catalog(session.state().config_options().catalog.default_catalog.clone(), Arc::new(catalog));
    Ok(())
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
