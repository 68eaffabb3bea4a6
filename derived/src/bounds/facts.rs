//! What is known of a plan node's expressions: "a row of this node in which the expression has the
//! value v depends, in whether it is there, how often, and in all its values, on no rows of that scan
//! but those whose event time maps to v". Everything that is not known is left out.

use super::expr::step;
use super::time_map::{Step, TimeMap};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable};

/// A scan, by its place in the plan.
pub(super) type ScanId = usize;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub expr: Expr,
    pub scan: ScanId,
    pub map: TimeMap,
}

/// All that is known at one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts(pub Vec<Fact>);

/// An expression without its name.
pub(crate) fn unnamed(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unnamed(&alias.expr),
        other => other,
    }
}

/// The column of a schema at a position, as expressions above refer to it.
pub(super) fn column_at(schema: &DFSchema, at: usize) -> Expr {
    let (qualifier, field) = schema.qualified_field(at);
    Expr::Column(Column::new(qualifier.cloned(), field.name()))
}

impl Facts {
    /// What is known of an expression over this node's rows.
    pub fn trace(&self, expr: &Expr, schema: &DFSchema) -> Vec<(ScanId, TimeMap)> {
        let expr = unnamed(expr);
        let direct = self.0.iter().filter(|f| f.expr == *expr).map(|f| (f.scan, f.map.clone()));
        let mut found: Vec<_> = direct.collect();
        let Some((of, step)) = step(expr) else { return found };
        if step.is_some_and(|s| !holds_for(s, of, schema)) {
            return found;
        }
        found.extend(self.trace(of, schema).into_iter().map(|(scan, map)| match step {
            Some(step) => (scan, map.then(step)),
            None => (scan, map),
        }));
        found
    }

    /// Facts of `expr` under another expression of the same rows, which equals it; `of` is that one's schema. What the
    /// other expression moves is known, too: of `d - 1 day = t` that `d = t + 1 day`.
    pub fn restate(&self, expr: &Expr, schema: &DFSchema, as_expr: &Expr, of: &DFSchema) -> impl Iterator<Item = Fact> {
        let traced = self.trace(expr, schema);
        undone(as_expr, of)
            .into_iter()
            .flat_map(move |(as_expr, undo)| {
                traced.clone().into_iter().map(move |(scan, map)| {
                    let map = undo.iter().fold(map, |map, step| map.then(*step));
                    Fact { expr: as_expr.clone(), scan, map }
                })
            })
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The same facts where each of `from` is called as in `to`; those that mention anything else are lost.
    pub fn rename(&self, from: &[Expr], to: &[Expr]) -> Self {
        let renamed = self.0.iter().filter_map(|fact| {
            let expr = rename(&fact.expr, from, to)?;
            Some(Fact { expr, scan: fact.scan, map: fact.map.clone() })
        });
        Self(renamed.collect())
    }
}

/// An expression, and those inside of it that it only moves, each with what leads back from it to them.
fn undone(expr: &Expr, schema: &DFSchema) -> Vec<(Expr, Vec<Step>)> {
    let (mut expr, mut undo) = (unnamed(expr), Vec::new());
    let mut out = vec![(expr.clone(), Vec::new())];
    while let Some((of, step)) = step(expr) {
        match step {
            None => {}
            Some(Step::Shift(by)) if holds_for(Step::Shift(by), of, schema) && by != i64::MIN => undo.push(Step::Shift(-by)),
            Some(_) => break,
        }
        expr = unnamed(of);
        out.push((expr.clone(), undo.clone()));
    }
    out
}

/// A part of a day cannot be added to a date.
fn holds_for(step: Step, of: &Expr, schema: &DFSchema) -> bool {
    const DAY: i64 = 86_400_000_000;
    match step {
        Step::Shift(by) if by % DAY != 0 => matches!(of.get_type(schema), Ok(DataType::Timestamp(_, None))),
        _ => true,
    }
}

fn rename(expr: &Expr, from: &[Expr], to: &[Expr]) -> Option<Expr> {
    let mut lost = false;
    let renamed = expr.clone().transform_down(|e| {
        if let Some(at) = from.iter().position(|f| unnamed(f) == &e) {
            return Ok(Transformed::new(to[at].clone(), true, datafusion::common::tree_node::TreeNodeRecursion::Jump));
        }
        lost |= matches!(e, Expr::Column(_));
        Ok(Transformed::no(e))
    });
    renamed.ok().map(|t| t.data).filter(|_| !lost)
}
