//! Changed rows of inputs in memory, and the query that tells what they touch.

use super::narrow::narrow;
use super::query;
use crate::cluster::Cluster;
use common::rpc::tablet::{IMAGE_COLUMN, OLD_IMAGE};
use common::schema::Table;
use common::version::VersionMap;
use common::{Error, ErrorKind, Result};
use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{Int8Type, Schema};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion::prelude::SessionContext;
use derived::touched::{Changes, touched};
use futures::TryStreamExt;
use std::collections::HashMap;
use std::sync::Arc;

/// Changed rows of one input, both images, that are kept in memory at most: past it everything counts as touched.
pub const MAX_CHANGED: usize = 100_000;

/// The changed rows of some inputs.
#[derive(Default)]
pub struct ChangedRows {
    by_table: HashMap<String, Images>,
}

struct Images {
    both: Arc<dyn TableSource>,
    old: Arc<dyn TableSource>,
}

impl Changes for ChangedRows {
    fn changed(&self, table: &str) -> Option<Arc<dyn TableSource>> {
        self.by_table.get(table).map(|i| i.both.clone())
    }

    fn old(&self, table: &str) -> Option<Arc<dyn TableSource>> {
        self.by_table.get(table).map(|i| i.old.clone())
    }
}

impl ChangedRows {
    /// Adds the changed rows of a table; `batches` have these columns and their image.
    ///
    /// # Errors
    /// `Internal` if they have others.
    pub fn add(&mut self, table: &Table, columns: &[String], batches: Vec<RecordBatch>) -> Result<()> {
        if batches.iter().all(|b| b.num_rows() == 0) {
            return Ok(());
        }
        let wrong = |e| Error::internal(format!("changed rows of '{}' cannot be read: {e}", table.name));
        let whole = table.arrow_schema();
        let fields = columns.iter().map(|c| whole.field_with_name(c).cloned()).collect::<std::result::Result<Vec<_>, _>>();
        let schema = Arc::new(Schema::new(fields.map_err(wrong)?));
        let (mut both, mut old) = (Vec::with_capacity(batches.len()), Vec::with_capacity(batches.len()));
        for batch in batches {
            let named = columns.iter().map(|c| batch.column_by_name(c).cloned());
            let named = named.collect::<Option<Vec<_>>>().ok_or_else(|| Error::internal("a change without an asked column"))?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            // What crossed the wire may differ in field metadata.
            let rows = RecordBatch::try_new_with_options(schema.clone(), named, &options).map_err(wrong)?;
            let image = batch.column_by_name(IMAGE_COLUMN).ok_or_else(|| Error::internal("a change without its image"))?;
            let is_old: BooleanArray = image.as_primitive::<Int8Type>().iter().map(|i| Some(i == Some(OLD_IMAGE))).collect();
            old.push(filter_record_batch(&rows, &is_old).map_err(wrong)?);
            both.push(rows);
        }
        let source = |rows: Vec<RecordBatch>| -> Result<Arc<dyn TableSource>> {
            let table = MemTable::try_new(schema.clone(), vec![rows]).map_err(|e| crate::sql::from_datafusion(&e))?;
            Ok(provider_as_source(Arc::new(table)))
        };
        self.by_table.insert(table.name.clone(), Images { both: source(both)?, old: source(old)? });
        Ok(())
    }
}

/// The changed rows of a table in `(from, to]`; `None`, with why, if they are lost or more than `most`.
///
/// # Errors
/// `Unavailable` and the like.
pub async fn changed_rows(
    cluster: &Arc<Cluster>,
    table: &Arc<Table>,
    columns: &[String],
    from: &VersionMap,
    to: &VersionMap,
    most: usize,
) -> Result<std::result::Result<Vec<RecordBatch>, String>> {
    let mut stream = cluster.changes(table, columns.to_vec(), from, to);
    let (mut batches, mut rows) = (Vec::new(), 0);
    loop {
        match stream.try_next().await {
            Ok(None) => return Ok(Ok(batches)),
            Ok(Some(batch)) => {
                rows += batch.num_rows();
                batches.push(batch);
            }
            Err(e) if e.kind == ErrorKind::ChangesLost => return Ok(Err(format!("changes of {} are lost", table.name))),
            Err(e) => return Err(e),
        }
        if rows > most {
            return Ok(Err(format!("more than {most} rows of {} changed", table.name)));
        }
    }
}

/// What changed rows touch.
pub enum Touched {
    /// At least the rows with these values in the asked columns, which are called by their number.
    Rows(Vec<RecordBatch>),
    /// It cannot be told, for this reason.
    Unknown(String),
}

/// The values that the columns at `positions` of a plan's result have in every row that `changes` may add, remove or
/// alter, `most` of them at most. The session reads the inputs at the versions up to which the changes go.
///
/// # Errors
/// As [`query::run`].
pub async fn values(
    context: &SessionContext,
    plan: &LogicalPlan,
    positions: &[usize],
    changes: &ChangedRows,
    most: usize,
) -> Result<Touched> {
    let optimized = context.state().optimize(plan).map_err(|e| crate::sql::from_datafusion(&e))?;
    match touched(&optimized, positions, changes) {
        Err(why) => Ok(Touched::Unknown(why.0)),
        Ok(None) => Ok(Touched::Rows(Vec::new())),
        Ok(Some(found)) => {
            let narrowed =
                LogicalPlanBuilder::from(narrow(context, found).await?).limit(0, Some(most + 1)).and_then(LogicalPlanBuilder::build);
            let batches = query::run(context, narrowed.map_err(|e| crate::sql::from_datafusion(&e))?).await?.batches;
            match batches.iter().map(RecordBatch::num_rows).sum::<usize>() {
                many if many > most => Ok(Touched::Unknown(format!("the changed rows touch more than {most} keys"))),
                _ => Ok(Touched::Rows(batches)),
            }
        }
    }
}
