//! The new rows of the input that drives a table without windows which is appended to.

use super::touched::changed_rows;
use super::work::{PinnedInput, Work};
use crate::cluster::Cluster;
use common::rpc::tablet::{IMAGE_COLUMN, OLD_IMAGE};
use common::schema::Table;
use common::{Error, Result};
use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::Int8Type;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use std::collections::HashSet;
use std::sync::Arc;

/// Rows that came since the last run.
pub struct NewRows {
    /// Of this table.
    driver: String,
    source: Arc<dyn TableSource>,
    /// How many.
    pub count: usize,
}

impl NewRows {
    /// Reads the rows that `driver` got since the last run. A row that was there before, in whatever form, is none.
    ///
    /// # Errors
    /// `Unavailable` and the like; `FailedPrecondition` if it cannot be told any more which rows are new.
    pub async fn since(cluster: &Arc<Cluster>, work: &Work, driver: &PinnedInput, since: &common::version::VersionMap) -> Result<Self> {
        let (table, schema) = (&driver.table, driver.table.arrow_schema());
        let columns: Vec<_> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let batches = changed_rows(cluster, table, &columns, since, &driver.version, usize::MAX).await?;
        let batches = batches.map_err(|why| {
            Error::invalid(format!(
                "table '{}': {why}, so which rows of it are new cannot be told: run it anew as a whole (stele derived run)",
                work.table.name
            ))
        })?;
        let before = old_keys(table, &batches)?;
        let mut new = Vec::with_capacity(batches.len());
        for batch in &batches {
            let image = image(batch)?;
            let keep = (0..batch.num_rows()).map(|row| {
                let is_new = image.as_primitive::<Int8Type>().value(row) != OLD_IMAGE;
                Ok(Some(is_new && (before.is_empty() || !before.contains(&key(table, batch, row)?))))
            });
            let kept = filter_record_batch(batch, &keep.collect::<Result<BooleanArray>>()?).map_err(internal)?;
            let named = columns.iter().map(|c| kept.column_by_name(c).cloned()).collect::<Option<Vec<_>>>();
            let named = named.ok_or_else(|| Error::internal("a change without an asked column"))?;
            new.push(RecordBatch::try_new(schema.clone(), named).map_err(internal)?);
        }
        let count = new.iter().map(RecordBatch::num_rows).sum();
        let rows = MemTable::try_new(schema, vec![new]).map_err(|e| crate::sql::from_datafusion(&e))?;
        Ok(Self { driver: table.name.clone(), source: provider_as_source(Arc::new(rows)), count })
    }

    /// A plan that reads these rows in place of their table.
    ///
    /// # Errors
    /// `Internal` if the plan cannot be rewritten.
    pub fn in_place(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let of_driver = |scan: &TableScan| super::query::name_of(&scan.table_name) == self.driver;
        let replace = |node: LogicalPlan| match node {
            LogicalPlan::TableScan(scan) if of_driver(&scan) => {
                Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source: self.source.clone(), ..scan })))
            }
            node => Ok(Transformed::no(node)),
        };
        plan.transform_up_with_subqueries(replace).map(|t| t.data).map_err(|e| crate::sql::from_datafusion(&e))
    }
}

/// The visible keys of rows that were there before.
fn old_keys(table: &Table, batches: &[RecordBatch]) -> Result<HashSet<Vec<ScalarValue>>> {
    let mut keys = HashSet::new();
    for batch in batches {
        let image = image(batch)?.as_primitive::<Int8Type>().clone();
        for row in (0..batch.num_rows()).filter(|row| image.value(*row) == OLD_IMAGE) {
            keys.insert(key(table, batch, row)?);
        }
    }
    Ok(keys)
}

fn key(table: &Table, batch: &RecordBatch, row: usize) -> Result<Vec<ScalarValue>> {
    let parts = table.key.iter().filter(|p| !p.hidden).map(|p| p.name.as_str());
    let raw = table.key.is_empty().then_some(Table::ROW_KEY);
    let columns = parts.chain(raw).map(|name| {
        let array = batch.column_by_name(name).ok_or_else(|| Error::internal(format!("a change without key part '{name}'")))?;
        ScalarValue::try_from_array(array, row).map_err(|e| crate::sql::from_datafusion(&e))
    });
    columns.collect()
}

fn image(batch: &RecordBatch) -> Result<&datafusion::arrow::array::ArrayRef> {
    batch.column_by_name(IMAGE_COLUMN).ok_or_else(|| Error::internal("a change without its image"))
}

fn internal(error: datafusion::arrow::error::ArrowError) -> Error {
    Error::internal(format!("changed rows cannot be read: {error}"))
}
