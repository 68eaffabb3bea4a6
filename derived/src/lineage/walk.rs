use super::ColumnRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::logical_plan::{Aggregate, Join, RecursiveQuery};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use std::collections::{BTreeSet, HashMap};

/// Columns of inputs, by number.
pub(super) type Ids = BTreeSet<usize>;

/// A walk over one plan, from its scans up.
#[derive(Default)]
pub(super) struct Walk {
    refs: Vec<ColumnRef>,
    ids: HashMap<ColumnRef, usize>,
    /// What decides which rows there are.
    pub conditions: Ids,
    /// What the columns of a recursive query's own table are made of, as far as is known.
    recursive: HashMap<String, Vec<Ids>>,
    /// Rows around a subquery, which its expressions may refer to, innermost last.
    outer: Vec<Scope>,
}

/// The columns of a node and what they are made of.
struct Scope {
    schema: DFSchema,
    columns: Vec<Ids>,
}

impl Walk {
    pub fn named(&self, ids: &Ids) -> Vec<ColumnRef> {
        let mut named: Vec<_> = ids.iter().map(|id| self.refs[*id].clone()).collect();
        named.sort();
        named
    }

    fn id(&mut self, table: &str, column: &str) -> usize {
        let of = ColumnRef { table: table.to_owned(), column: column.to_owned() };
        if let Some(id) = self.ids.get(&of) {
            return *id;
        }
        self.refs.push(of.clone());
        self.ids.insert(of, self.refs.len() - 1);
        self.refs.len() - 1
    }

    /// What each column of a node is made of.
    pub fn plan(&mut self, plan: &LogicalPlan) -> Vec<Ids> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(&scan.table_name.to_string(), plan.schema()),
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Subquery(subquery) => self.plan(&subquery.subquery),
            LogicalPlan::Projection(p) => self.over(&p.input, &p.expr),
            LogicalPlan::Filter(f) => {
                let input = self.scope(&f.input);
                self.condition(&f.predicate, &input);
                input.columns
            }
            LogicalPlan::Aggregate(a) => self.aggregate(a, plan.schema().fields().len()),
            LogicalPlan::Window(w) => {
                let input = self.scope(&w.input);
                let windows: Vec<Ids> = w.window_expr.iter().map(|e| self.expr(e, &input)).collect();
                input.columns.into_iter().chain(windows).collect()
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(u) => {
                let branches: Vec<_> = u.inputs.iter().map(|i| self.plan(i)).collect();
                let at = |i: usize| branches.iter().filter_map(|b| b.get(i)).flatten().copied().collect();
                (0..plan.schema().fields().len()).map(at).collect()
            }
            LogicalPlan::Distinct(Distinct::On(d)) => {
                let input = self.scope(&d.input);
                d.on_expr.iter().for_each(|e| self.condition(e, &input));
                d.select_expr.iter().map(|e| self.expr(e, &input)).collect()
            }
            LogicalPlan::Unnest(u) => {
                let input = self.plan(&u.input);
                u.dependency_indices.iter().map(|at| input.get(*at).cloned().unwrap_or_default()).collect()
            }
            LogicalPlan::RecursiveQuery(r) => self.recursion(r),
            LogicalPlan::Distinct(Distinct::All(input)) => self.plan(input),
            LogicalPlan::Sort(s) => self.plan(&s.input),
            LogicalPlan::Limit(l) => self.plan(&l.input),
            LogicalPlan::Repartition(r) => self.plan(&r.input),
            // Of what is not known everything may be made of everything.
            other => {
                let all: Ids = other.inputs().into_iter().flat_map(|i| self.plan(i)).flatten().collect();
                vec![all; plan.schema().fields().len()]
            }
        }
    }

    fn scope(&mut self, plan: &LogicalPlan) -> Scope {
        Scope { columns: self.plan(plan), schema: plan.schema().as_ref().clone() }
    }

    fn over(&mut self, input: &LogicalPlan, exprs: &[Expr]) -> Vec<Ids> {
        let input = self.scope(input);
        exprs.iter().map(|e| self.expr(e, &input)).collect()
    }

    fn scan(&mut self, table: &str, schema: &DFSchema) -> Vec<Ids> {
        if let Some(columns) = self.recursive.get(table) {
            return columns.clone();
        }
        schema.fields().iter().map(|f| Ids::from([self.id(table, f.name())])).collect()
    }

    fn aggregate(&mut self, a: &Aggregate, width: usize) -> Vec<Ids> {
        let input = self.scope(&a.input);
        let groups = grouping_set_to_exprlist(&a.group_expr).unwrap_or_default();
        let mut columns: Vec<Ids> = groups.into_iter().map(|e| self.expr(e, &input)).collect();
        columns.iter().for_each(|ids| self.conditions.extend(ids));
        // Grouping sets add a column that says which set a row is of.
        let hidden = width.saturating_sub(columns.len() + a.aggr_expr.len());
        columns.extend(vec![Ids::new(); hidden]);
        columns.extend(a.aggr_expr.iter().map(|e| self.expr(e, &input)).collect::<Vec<_>>());
        columns
    }

    fn join(&mut self, join: &Join) -> Vec<Ids> {
        let (left, right) = (self.scope(&join.left), self.scope(&join.right));
        let mut compared = Ids::new();
        for (a, b) in &join.on {
            compared.extend(self.expr(a, &left));
            compared.extend(self.expr(b, &right));
        }
        let joined = left.schema.join(&right.schema).unwrap_or_else(|_| left.schema.clone());
        let both = Scope { schema: joined, columns: left.columns.iter().chain(&right.columns).cloned().collect() };
        if let Some(filter) = &join.filter {
            compared.extend(self.expr(filter, &both));
        }
        self.conditions.extend(&compared);
        match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => both.columns,
            JoinType::LeftSemi | JoinType::LeftAnti => left.columns,
            JoinType::RightSemi | JoinType::RightAnti => right.columns,
            JoinType::LeftMark => left.columns.into_iter().chain([compared]).collect(),
            JoinType::RightMark => right.columns.into_iter().chain([compared]).collect(),
        }
    }

    /// Until the query's own table adds nothing; what a column is made of only grows, and is finite.
    fn recursion(&mut self, r: &RecursiveQuery) -> Vec<Ids> {
        let mut known = self.plan(&r.static_term);
        let shadowed = self.recursive.remove(&r.name);
        loop {
            self.recursive.insert(r.name.clone(), known.clone());
            let more = self.plan(&r.recursive_term);
            let next: Vec<Ids> = known.iter().zip(more).map(|(a, b)| a.union(&b).copied().collect()).collect();
            if next == known {
                break;
            }
            known = next;
        }
        self.recursive.remove(&r.name);
        self.recursive.extend(shadowed.map(|columns| (r.name.clone(), columns)));
        known
    }

    fn condition(&mut self, expr: &Expr, input: &Scope) {
        let ids = self.expr(expr, input);
        self.conditions.extend(ids);
    }

    /// What an expression over the rows of `input` is made of.
    fn expr(&mut self, expr: &Expr, input: &Scope) -> Ids {
        let mut ids = Ids::new();
        let walked = expr.apply(|e| {
            match e {
                Expr::Column(column) => ids.extend(find(column, input)),
                Expr::OuterReferenceColumn(_, column) => {
                    let scope = self.outer.iter().rev().find(|s| s.schema.maybe_index_of_column(column).is_some());
                    ids.extend(scope.map(|s| find(column, s)).unwrap_or_default());
                }
                Expr::ScalarSubquery(s) => ids.extend(self.subquery(&s.subquery, input).0),
                Expr::InSubquery(i) => ids.extend(self.subquery(&i.subquery.subquery, input).0),
                Expr::SetComparison(s) => ids.extend(self.subquery(&s.subquery.subquery, input).0),
                // Whether there are rows is what its conditions decide.
                Expr::Exists(e) => ids.extend(self.subquery(&e.subquery.subquery, input).1),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(walked.is_ok(), "a walk that only looks cannot fail");
        ids
    }

    /// What the columns of a subquery are made of, and what decides which rows it has.
    fn subquery(&mut self, plan: &LogicalPlan, input: &Scope) -> (Ids, Ids) {
        self.outer.push(Scope { schema: input.schema.clone(), columns: input.columns.clone() });
        let before = std::mem::take(&mut self.conditions);
        let columns = self.plan(plan);
        self.outer.pop();
        let conditions = std::mem::replace(&mut self.conditions, before);
        self.conditions.extend(&conditions);
        (columns.into_iter().flatten().collect(), conditions)
    }
}

fn find(column: &Column, scope: &Scope) -> Ids {
    scope.schema.maybe_index_of_column(column).and_then(|at| scope.columns.get(at)).cloned().unwrap_or_default()
}
