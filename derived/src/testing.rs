//! What the tests of several modules share.

use crate::project::{Compiled, Project};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::config::Dialect;
use datafusion::common::{DFSchema, Result as PlanResult};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr_fn::SimpleScalarUDF;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, Volatility};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use std::sync::Arc;

/// A raw table with a time.
pub const EVENTS: &str = "name: raw.events\nkey: [user_id: string, at: timestamp desc, event_id: string]\ncolumns: {device: string, cents: int64}\ntime_column: at\nlateness: 1h\n";
/// A raw table without one.
pub const USERS: &str = "name: raw.users\nkey: [user_id: string]\ncolumns: {country: string}\n";

/// A session as the gateway makes them; of its functions the types alone.
pub fn session() -> common::Result<SessionContext> {
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let mut session = SessionContext::new_with_config(config);
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    session.register_udf(stand_in("json_array_elements_text", 1, list));
    session.register_expr_planner(Arc::new(Arrows)).unwrap();
    Ok(session)
}

fn stand_in(name: &str, arguments: usize, returns: DataType) -> ScalarUDF {
    let never = Arc::new(|_: &[ColumnarValue]| datafusion::common::exec_err!("types only"));
    SimpleScalarUDF::new_with_signature(name, Signature::any(arguments, Volatility::Immutable), returns, never).into()
}

/// `->` and `->>` give text.
#[derive(Debug)]
struct Arrows;

impl ExprPlanner for Arrows {
    fn plan_binary_op(&self, raw: RawBinaryExpr, _: &DFSchema) -> PlanResult<PlannerResult<RawBinaryExpr>> {
        Ok(match raw.op {
            BinaryOperator::Arrow | BinaryOperator::LongArrow => {
                PlannerResult::Planned(stand_in("json_get", 2, DataType::Utf8).call(vec![raw.left.unalias(), raw.right.unalias()]))
            }
            _ => PlannerResult::Original(raw),
        })
    }
}

/// A project of both raw tables and these files.
pub fn compiled(files: &[(&str, &str)]) -> Compiled {
    let base = [("sources/events.yaml", EVENTS), ("sources/users.yaml", USERS)];
    let all = base.iter().chain(files).map(|(p, t)| ((*p).to_owned(), (*t).to_owned()));
    Project::from_files(all.collect()).compile(&session, &[])
}
