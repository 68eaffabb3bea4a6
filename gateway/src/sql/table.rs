use super::catalog::Versions;
use super::error::into_datafusion;
use super::exec::TabletScanExec;
use super::filters::Pushed;
use async_trait::async_trait;
use common::ids::Seq;
use common::row::ReadSpec;
use common::schema::{Table, TableKind};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::project_schema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use std::sync::Arc;

/// A table of the cluster at the session's version.
#[derive(Debug)]
pub(super) struct TabletTable {
    table: Arc<Table>,
    versions: Arc<Versions>,
    schema: SchemaRef,
}

impl TabletTable {
    pub(super) fn new(table: Arc<Table>, versions: Arc<Versions>) -> Self {
        Self { schema: table.arrow_schema(), table, versions }
    }
}

#[async_trait]
impl TableProvider for TabletTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(Pushed::of(&self.table, filters).support())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = project_schema(&self.schema, projection)?;
        let pushed = Pushed::of(&self.table, &filters.iter().collect::<Vec<_>>());
        let ranges = pushed.ranges(&self.table).map_err(into_datafusion)?;
        let tablets = self.versions.cluster().tablets_in(&self.table, &ranges).map_err(into_datafusion)?;
        if tablets.is_empty() {
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let at = self.versions.of(&self.table).await.map_err(into_datafusion)?;
        if self.table.kind == TableKind::Derived && at.single() == Some(Seq::ZERO) {
            // Nothing was ever published.
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let spec = ReadSpec { ranges, row_limit: limit.map_or(0, |n| n as u64), event_time: pushed.event_time(), ..ReadSpec::default() };
        Ok(Arc::new(TabletScanExec::new(self.versions.cluster().clone(), self.table.clone(), tablets, spec, at, schema)))
    }
}
