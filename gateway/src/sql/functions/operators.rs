use super::get::{self, Form};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::sqlparser::ast::BinaryOperator;

/// Plans `->` and `->>`.
#[derive(Debug)]
pub(super) struct Arrows;

impl ExprPlanner for Arrows {
    fn plan_binary_op(&self, raw: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let form = match raw.op {
            BinaryOperator::Arrow => Form::Json,
            BinaryOperator::LongArrow => Form::Text,
            _ => return Ok(PlannerResult::Original(raw)),
        };
        Ok(PlannerResult::Planned(get::function(form).call(vec![bare(raw.left), bare(raw.right)])))
    }
}

/// Chained operators give no names to their inner steps.
fn bare(expr: Expr) -> Expr {
    expr.unalias()
}
