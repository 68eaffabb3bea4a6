//! Which row keys of a table without windows a run has to compute.

use super::appended::NewRows;
use super::narrow::is_one_of;
use super::query;
use super::touched::{ChangedRows, MAX_CHANGED, Touched, changed_rows, values};
use super::work::Work;
use crate::cluster::Cluster;
use crate::rows::arrow::TypedColumn;
use bytes::Bytes;
use common::{Error, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::logical_plan::Filter;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::SessionContext;
use derived::definition::OnChange;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Keys that one run computes by themselves; of more the whole is computed.
pub const MAX_KEYS: usize = 10_000;

/// The row keys that changed rows may touch.
#[derive(Debug, Default)]
pub struct DirtyKeys {
    /// As the table stores them.
    pub rows: BTreeSet<Bytes>,
    /// What the columns of the unique key are in them, by their place in the SQL's result.
    columns: Vec<(usize, Vec<ScalarValue>)>,
}

/// How a run of a table without windows is computed.
pub enum Path {
    /// Only these keys.
    Keys(DirtyKeys),
    /// Only what new rows of an input give, beside all that is there.
    Appended(NewRows),
    /// All of it; why, for people.
    Whole(String),
}

impl Path {
    /// Whether it leaves most of the table as it is.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !matches!(self, Self::Whole(_))
    }

    /// Whether it gives nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Keys(keys) => keys.rows.is_empty(),
            Self::Appended(new) => new.count == 0,
            Self::Whole(_) => false,
        }
    }

    /// As the run log calls it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Keys(keys) => format!("by key: {}", keys.rows.len()),
            Self::Appended(new) => format!("new rows: {}", new.count),
            Self::Whole(why) => format!("whole: {why}"),
        }
    }
}

/// Finds out what a work has to compute; `None` for a table with windows.
///
/// # Errors
/// `Unavailable` and the like, and as [`query::run`].
pub async fn path(cluster: &Arc<Cluster>, context: &SessionContext, work: &Work) -> Result<Option<Path>> {
    if work.artifact.window.is_some() {
        return Ok(None);
    }
    if let Some(driver) = work.inputs.iter().find(|i| Some(&i.table.name) == work.artifact.driver.as_ref()) {
        return Ok(Some(match &driver.since {
            Some(since) => Path::Appended(NewRows::since(cluster, work, driver, since).await?),
            None => Path::Whole(work.plan.reason.into()),
        }));
    }
    if !work.artifact.is_by_key() {
        return Ok(Some(Path::Whole("its keys do not follow from its inputs".into())));
    }
    let mut changes = ChangedRows::default();
    for pinned in &work.inputs {
        if work.artifact.input(&pinned.table.name).is_some_and(|i| i.on_change == OnChange::Ignore) {
            continue;
        }
        let Some(since) = &pinned.since else { return Ok(Some(Path::Whole(work.plan.reason.into()))) };
        if *since == pinned.version {
            continue;
        }
        match changed_rows(cluster, &pinned.table, &pinned.columns, since, &pinned.version, MAX_CHANGED).await? {
            Ok(batches) => changes.add(&pinned.table, &pinned.columns, batches)?,
            Err(why) => return Ok(Some(Path::Whole(why))),
        }
    }
    let positions = work.artifact.key_positions().unwrap_or_default();
    let sql = work.artifact.queries(None).pop().ok_or_else(|| Error::internal("a definition without a query"))?.sql;
    let plan = query::plan(context, &sql).await?;
    Ok(Some(match values(context, &plan, &positions, &changes, MAX_KEYS).await? {
        Touched::Unknown(why) => Path::Whole(why),
        Touched::Rows(batches) => Path::Keys(DirtyKeys::of(work, &positions, &batches)?),
    }))
}

impl DirtyKeys {
    /// From batches whose columns are those of the row key.
    fn of(work: &Work, positions: &[usize], batches: &[RecordBatch]) -> Result<Self> {
        let mut rows = BTreeSet::new();
        let mut columns: Vec<HashSet<ScalarValue>> = vec![HashSet::new(); positions.len()];
        for batch in batches {
            let typed = work.table.key.iter().zip(batch.columns()).map(|(part, array)| TypedColumn::cast(array, part.codec.ty, 1));
            let typed = typed.collect::<Result<Vec<_>>>()?;
            for row in 0..batch.num_rows() {
                let parts: Vec<_> = typed.iter().map(|c| c.value(row)).collect();
                // A row with null where the key has none is no row of the table; if the SQL gives one, the run fails.
                if let Ok(key) = work.table.key_schema().encode(&parts) {
                    rows.insert(key);
                }
                for (values, array) in columns.iter_mut().zip(batch.columns()) {
                    values.insert(ScalarValue::try_from_array(array, row).map_err(|e| crate::sql::from_datafusion(&e))?);
                }
            }
        }
        let unique = |part: &str| work.artifact.unique.iter().any(|u| u == part);
        let named = work.table.key.iter().zip(positions).zip(columns);
        let columns = named.filter(|((part, _), _)| unique(&part.name)).map(|((_, at), values)| (*at, values.into_iter().collect()));
        Ok(Self { columns: columns.collect(), rows })
    }

    /// The rows of a plan whose unique key may be one of these, null or not.
    ///
    /// # Errors
    /// `Internal` if the plan has no such columns.
    pub fn restrict(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let schema = plan.schema().clone();
        let one = |(at, values): &(usize, Vec<ScalarValue>)| {
            let (relation, field) = schema.qualified_field(*at);
            let null = values.iter().any(ScalarValue::is_null);
            is_one_of(Expr::Column(Column::new(relation.cloned(), field.name())), values.clone(), null)
        };
        let Some(all) = self.columns.iter().map(one).reduce(Expr::and) else { return Ok(plan) };
        Filter::try_new(all, Arc::new(plan)).map(LogicalPlan::Filter).map_err(|e| crate::sql::from_datafusion(&e))
    }
}
