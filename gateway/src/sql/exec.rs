use super::error::into_datafusion;
use crate::cluster::Cluster;
use common::catalog::Tablet;
use common::row::ReadSpec;
use common::schema::Table;
use common::time::Micros;
use common::version::VersionMap;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// Scans the tablets of a table, one partition a tablet, each in key order.
#[derive(Debug)]
pub(super) struct TabletScanExec {
    cluster: Arc<Cluster>,
    table: Arc<Table>,
    tablets: Vec<Tablet>,
    spec: ReadSpec,
    at: VersionMap,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TabletScanExec {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        table: Arc<Table>,
        tablets: Vec<Tablet>,
        spec: ReadSpec,
        at: VersionMap,
        schema: SchemaRef,
    ) -> Self {
        let ordering = ordering(&table, &schema);
        let equivalence = EquivalenceProperties::new_with_orderings(schema.clone(), (!ordering.is_empty()).then_some(ordering));
        let partitioning = Partitioning::UnknownPartitioning(tablets.len());
        let properties = PlanProperties::new(equivalence, partitioning, EmissionType::Incremental, Boundedness::Bounded);
        let metrics = ExecutionPlanMetricsSet::new();
        Self { cluster, table, tablets, spec, at, schema, properties: Arc::new(properties), metrics }
    }
}

/// The order of rows as far as the scanned columns show it: by the leading key parts.
fn ordering(table: &Table, schema: &SchemaRef) -> Vec<PhysicalSortExpr> {
    let columns = table.key.iter().map(|p| (schema.index_of(&p.name), p)).take_while(|(at, p)| at.is_ok() && !p.hidden);
    let sorted = |(at, part): (std::result::Result<usize, _>, &common::schema::KeyPart)| {
        // Nulls sort last, so a descending part has them first.
        let options = SortOptions { descending: part.codec.descending, nulls_first: part.codec.descending };
        at.ok().map(|at| PhysicalSortExpr::new(Arc::new(Column::new(&part.name, at)), options))
    };
    columns.filter_map(sorted).collect()
}

impl DisplayAs for TabletScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let columns: Vec<_> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
        let whole = self.spec.ranges.as_slice() == [self.table.key_schema().data_range()];
        let ranges = if whole { "all".to_owned() } else { self.spec.ranges.len().to_string() };
        write!(f, "TabletScanExec: table={}, tablets={}, key ranges={ranges}", self.table.name, self.tablets.len())?;
        write!(f, ", columns=[{}]", columns.join(", "))?;
        if let Some(times) = self.spec.event_time {
            let end = |t: Micros, open| if t == open { "…".to_owned() } else { t.to_rfc3339() };
            write!(f, ", event time=[{}, {})", end(times.start, Micros::MIN), end(times.end, Micros::MAX))?;
        }
        if self.spec.row_limit > 0 { write!(f, ", limit={}", self.spec.row_limit) } else { Ok(()) }
    }
}

impl ExecutionPlan for TabletScanExec {
    fn name(&self) -> &str {
        "TabletScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let columns = self.schema.fields().iter().map(|f| f.name().clone()).collect();
        let tablet = &self.tablets[partition];
        let batches = self.cluster.scan_tablet(&self.table, tablet, columns, self.spec.clone(), Some(self.at.clone()));
        let (schema, metrics) = (self.schema.clone(), BaselineMetrics::new(&self.metrics, partition));
        let batches = batches.map(move |batch| {
            let batch = batch.map_err(into_datafusion)?;
            metrics.record_output(batch.num_rows());
            // What crossed the wire may differ in field metadata.
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn supports_limit_pushdown(&self) -> bool {
        // No: a limit here counts for each partition alone, and `with_fetch` says so.
        false
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let spec = ReadSpec { row_limit: limit.map_or(0, |n| n as u64), ..self.spec.clone() };
        let (cluster, table, tablets) = (self.cluster.clone(), self.table.clone(), self.tablets.clone());
        Some(Arc::new(Self::new(cluster, table, tablets, spec, self.at.clone(), self.schema.clone())))
    }

    fn fetch(&self) -> Option<usize> {
        (self.spec.row_limit > 0).then(|| usize::try_from(self.spec.row_limit).unwrap_or(usize::MAX))
    }
}
