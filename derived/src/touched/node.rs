//! The two queries over each kind of node but joins.

use super::columns::{all, at, conjuncts, joins_nothing, known, of, of_all, of_groups, within};
use super::relation::{Conditions, distinct, filter, keep, project, union};
use super::{Changes, Columns, Found, Unknown};
use crate::bounds::unnamed;
use datafusion::common::Column;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::logical_plan::builder::unnest_with_options;
use datafusion::logical_expr::logical_plan::{TableScan, TableScanBuilder, Window};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableSource};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which of the two queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    /// Those that differ.
    Touched,
    /// Those that are or were there.
    Present,
}

/// A walk over a plan.
pub(super) struct Walk<'a> {
    /// What changed.
    pub changes: &'a dyn Changes,
}

impl Walk<'_> {
    /// The asked columns of rows that differ; `None`: none does.
    pub fn touched(&self, plan: &LogicalPlan, asked: &Columns) -> Found<Option<LogicalPlan>> {
        // What reads nothing that changed does not differ, whatever it is.
        if self.is_unchanged(plan) { Ok(None) } else { self.rows(plan, asked, Rows::Touched) }
    }

    /// The asked columns of all rows, as they are and as they were.
    pub fn present(&self, plan: &LogicalPlan, asked: &Columns) -> Found<LogicalPlan> {
        self.rows(plan, asked, Rows::Present)?.ok_or_else(|| Unknown("a part of its query reads nothing".into()))
    }

    fn is_unchanged(&self, plan: &LogicalPlan) -> bool {
        let changed =
            plan.exists(|node| Ok(matches!(node, LogicalPlan::TableScan(scan) if self.changes.changed(&table_name(scan)).is_some())));
        !changed.unwrap_or(true)
    }

    fn either(&self, plan: &LogicalPlan, asked: &Columns, which: Rows) -> Found<Option<LogicalPlan>> {
        match which {
            Rows::Touched => self.touched(plan, asked),
            Rows::Present => self.present(plan, asked).map(Some),
        }
    }

    fn rows(&self, plan: &LogicalPlan, asked: &Columns, which: Rows) -> Found<Option<LogicalPlan>> {
        let known = known(plan);
        if let Some(unknown) = asked.iter().find(|c| !known.contains(c)) {
            return Err(Unknown(format!("'{}' does not follow from single rows of its inputs", unknown.name)));
        }
        // Without a column there are no rows.
        let some: Columns = match asked.is_empty() {
            true => known.into_iter().take(1).collect(),
            false => asked.clone(),
        };
        if some.is_empty() {
            return Err(Unknown("it groups all rows of an input".into()));
        }
        self.node(plan, &some, which)
    }

    fn node(&self, plan: &LogicalPlan, asked: &Columns, which: Rows) -> Found<Option<LogicalPlan>> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, plan, asked, which),
            LogicalPlan::SubqueryAlias(a) => self.renamed(&a.input, plan, asked, which),
            LogicalPlan::Projection(p) => self.computed(&p.input, p.expr.iter().cloned().map(Some), plan, asked, which),
            LogicalPlan::Aggregate(a) => Ok(self.computed(&a.input, of_groups(a).into_iter(), plan, asked, which)?.map(distinct)),
            LogicalPlan::Filter(f) => {
                let (known, cheap) = (known(&f.input), joins_nothing(&f.input));
                let may = if cheap { &known } else { asked };
                let kept: Vec<_> = conjuncts(&f.predicate).into_iter().filter(|c| within(c, may)).collect();
                let needed = asked.iter().cloned().chain(of_all(kept.iter().copied())).collect();
                let Some(found) = self.either(&f.input, &needed, which)? else { return Ok(None) };
                keep(filter(found, kept)?, asked).map(Some)
            }
            LogicalPlan::Sort(s) if s.fetch.is_none() => self.either(&s.input, asked, which),
            LogicalPlan::Sort(s) if which == Rows::Present => self.either(&s.input, asked, which),
            LogicalPlan::Limit(l) if which == Rows::Present => self.either(&l.input, asked, which),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Err(Unknown("a LIMIT looks at all rows".into())),
            LogicalPlan::Repartition(r) => self.either(&r.input, asked, which),
            LogicalPlan::Distinct(Distinct::All(input)) => self.either(input, asked, which),
            LogicalPlan::Window(w) if which == Rows::Touched => self.partitions(w, asked),
            LogicalPlan::Window(w) => self.present(&w.input, asked).map(Some),
            LogicalPlan::Union(u) => {
                let branches = u.inputs.iter().map(|i| self.renamed(i, plan, asked, which));
                union(branches.collect::<Found<Vec<_>>>()?.into_iter().flatten().collect(), asked)
            }
            LogicalPlan::Unnest(u) => {
                let Some(input) = self.either(&u.input, &all(u.input.schema()).collect(), which)? else { return Ok(None) };
                let ordered = project(input, all(u.input.schema()).map(|c| (Expr::Column(c.clone()), c)))?;
                keep(unnest_with_options(ordered, u.exec_columns.clone(), u.options.clone())?, asked).map(Some)
            }
            LogicalPlan::Join(join) if which == Rows::Touched => self.touched_join(join, plan, asked),
            LogicalPlan::Join(join) => self.present_join(join, plan, asked).map(Some),
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => keep(plan.clone(), asked).map(Some),
            other => Err(Unknown(format!("rows of {} depend on more than can be followed", other.display()))),
        }
    }

    fn scan(&self, scan: &TableScan, plan: &LogicalPlan, asked: &Columns, which: Rows) -> Found<Option<LogicalPlan>> {
        let name = table_name(scan);
        if which == Rows::Touched {
            if scan.fetch.is_some() {
                return Err(Unknown("a LIMIT looks at all rows".into()));
            }
            return self.changes.changed(&name).map(|source| images(scan, source, asked)).transpose();
        }
        let whole = match scan.fetch {
            None => plan.clone(),
            Some(_) => LogicalPlan::TableScan(TableScan { fetch: None, ..scan.clone() }),
        };
        let mut all = vec![keep(whole, asked)?];
        if let Some(old) = self.changes.old(&name) {
            all.push(images(scan, old, asked)?);
        }
        union(all, asked)
    }

    /// The rows of an input whose columns are called differently, by position.
    fn renamed(&self, input: &LogicalPlan, plan: &LogicalPlan, asked: &Columns, which: Rows) -> Found<Option<LogicalPlan>> {
        let pairs: Vec<_> = all(input.schema()).zip(all(plan.schema())).filter(|(_, c)| asked.contains(c)).collect();
        let Some(found) = self.either(input, &pairs.iter().map(|(from, _)| from.clone()).collect(), which)? else { return Ok(None) };
        project(found, pairs.into_iter().map(|(from, to)| (Expr::Column(from), to))).map(Some)
    }

    /// The asked ones of `exprs` over an input, which are the columns of `plan`.
    fn computed(
        &self,
        input: &LogicalPlan,
        exprs: impl Iterator<Item = Option<Expr>>,
        plan: &LogicalPlan,
        asked: &Columns,
        which: Rows,
    ) -> Found<Option<LogicalPlan>> {
        let pairs: Vec<_> = exprs.zip(all(plan.schema())).filter(|(_, c)| asked.contains(c)).filter_map(|(e, c)| Some((e?, c))).collect();
        let Some(found) = self.either(input, &of_all(pairs.iter().map(|(e, _)| e)), which)? else { return Ok(None) };
        project(found, pairs).map(Some)
    }

    /// Rows that share a partition with one that differs.
    fn partitions(&self, window: &Window, asked: &Columns) -> Found<Option<LogicalPlan>> {
        let known = known(&window.input);
        let mut partitions: Vec<Vec<Expr>> = Vec::new();
        for expr in &window.window_expr {
            let by = match unnamed(expr) {
                Expr::WindowFunction(f) => f.params.partition_by.clone(),
                _ => Vec::new(),
            };
            if by.is_empty() {
                return Err(Unknown("a window function looks at all rows".into()));
            }
            if by.iter().any(|e| !within(e, &known)) {
                return Err(Unknown("the partitions of a window function do not follow from single rows of its inputs".into()));
            }
            if !partitions.contains(&by) {
                partitions.push(by);
            }
        }
        let parted_by = |c: &Column| partitions.iter().all(|by| by.iter().any(|e| *unnamed(e) == Expr::Column(c.clone())));
        if asked.iter().all(parted_by) {
            return self.touched(&window.input, asked);
        }
        let sharing = partitions.iter().map(|by| self.sharing(window, by, asked)).collect::<Found<Vec<_>>>()?;
        union(sharing.into_iter().flatten().collect(), asked)
    }

    fn sharing(&self, window: &Window, by: &[Expr], asked: &Columns) -> Found<Option<LogicalPlan>> {
        let Some(differing) = self.touched(&window.input, &of_all(by))? else { return Ok(None) };
        let names: BTreeSet<Column> = (0..by.len()).map(|i| Column::new_unqualified(format!("__part_{i:04}"))).collect();
        let parts = distinct(project(differing, by.iter().cloned().zip(names.iter().cloned()))?);
        let needed = asked.iter().cloned().chain(of_all(by)).collect();
        let rows = self.present(&window.input, &needed)?;
        keep(Conditions::semi_join(rows, parts, by.to_vec(), &names)?, asked).map(Some)
    }
}

/// The name of a scanned table, `dataset.name`.
pub(crate) fn table_name(scan: &TableScan) -> String {
    match scan.table_name.schema() {
        Some(schema) => format!("{schema}.{}", scan.table_name.table()),
        None => scan.table_name.table().to_owned(),
    }
}

/// Changed rows in place of a scan's, as far as they pass its filters.
fn images(scan: &TableScan, source: Arc<dyn TableSource>, asked: &Columns) -> Found<LogicalPlan> {
    let images = LogicalPlan::TableScan(TableScanBuilder::new(scan.table_name.clone(), source).build()?);
    keep(filter(images, &scan.filters)?, asked)
}

/// The column of a node that an expression is, if it is one.
pub(super) fn as_column(expr: &Expr) -> Option<&Column> {
    match unnamed(expr) {
        Expr::Column(column) => Some(column),
        _ => None,
    }
}

/// The columns of `asked` that a node has, in its rows.
pub(super) fn of_node(plan: &LogicalPlan, asked: &Columns) -> Columns {
    (0..plan.schema().fields().len()).map(|i| at(plan.schema(), i)).filter(|c| asked.contains(c)).collect()
}

/// The columns of an expression that a node has.
pub(super) fn reads_of(plan: &LogicalPlan, expr: &Expr) -> Columns {
    of_node(plan, &of(expr))
}
