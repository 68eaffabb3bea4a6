//! SQL over the cluster: `DataFusion` with tables that are tablets.
//!
//! Parts, one way: `functions`, `error` → `filters` → `exec` → `table` → `catalog` → [`Sql`].

mod catalog;
mod error;
mod exec;
mod filters;
#[cfg(test)]
mod filters_tests;
pub mod functions;
mod table;

use crate::cluster::Cluster;
use catalog::{Datasets, Versions};
use common::ids::TableId;
use common::schema::Table;
use common::version::VersionMap;
use common::{Error, Result};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, TableProvider};
use datafusion::common::config::Dialect;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use derived::Project;
use derived::project::{Compiled, Compiler};
pub use error::from_datafusion;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Memory that all queries of a process may hold together; beyond it sorts, joins and groups spill to disk or fail.
/// First come, first served: a fair pool would cut it among the operators of all queries that run, and refuse one of
/// them its 64 MiB while most of the pool is free.
const QUERY_MEMORY_BYTES: usize = 2 << 30;
/// Largest holders that an error for lack of memory names.
const NAMED_HOLDERS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(3).expect("3 is not 0");
/// Name of the one catalog.
const CATALOG: &str = "stele";
/// Where names without a dataset are looked for; no dataset can be called so by chance.
const NO_DATASET: &str = "public";

/// Makes query sessions that see the cluster's tables. One a process: its queries share a memory pool.
#[derive(Debug)]
pub struct Sql {
    cluster: Arc<Cluster>,
    runtime: Arc<RuntimeEnv>,
    /// Keeps what it compiled last, so that the next state of a project costs what differs. A plain lock, held while one
    /// project is compiled, by threads for such work.
    compiler: Mutex<Option<Compiler>>,
}

impl Sql {
    /// SQL over this cluster.
    ///
    /// # Errors
    /// `Internal` if there is no folder to spill to.
    pub fn new(cluster: Arc<Cluster>) -> Result<Arc<Self>> {
        let pool = Arc::new(TrackConsumersPool::new(GreedyMemoryPool::new(QUERY_MEMORY_BYTES), NAMED_HOLDERS));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().map_err(|e| from_datafusion(&e))?;
        Ok(Arc::new(Self { cluster, runtime, compiler: Mutex::default() }))
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// A session for one query (or several over the same versions), with every table as `dataset.name` and the
    /// [`functions`]: at its version in `pins`, else as it is when the session first uses it.
    ///
    /// # Errors
    /// `Internal` if the session cannot be set up.
    pub fn context(&self, pins: HashMap<TableId, VersionMap>) -> Result<SessionContext> {
        let session = empty_session(self.runtime.clone())?;
        let versions = Arc::new(Versions::new(self.cluster.clone(), pins));
        session.register_catalog(CATALOG, Arc::new(Datasets::new(self.cluster.tables(), versions)));
        Ok(session)
    }

    /// Compiles a project of derived tables; `tables` are the raw ones of the cluster. It takes its time, so not on a thread of
    /// the runtime.
    ///
    /// # Errors
    /// `Internal` if no session can be set up.
    pub fn compile(&self, project: &Project, tables: &[Table]) -> Result<Compiled> {
        let mut kept = self.compiler.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that one that panicked is not used again.
        let mut compiler = match kept.take() {
            Some(compiler) => compiler,
            None => Compiler::new(&session_without_tables)?,
        };
        let compiled = compiler.compile(project, tables);
        *kept = Some(compiler);
        Ok(compiled)
    }

    /// Runs one statement that only reads: SELECT, EXPLAIN, SHOW or DESCRIBE. `params` are `$1`, `$2`, ….
    ///
    /// # Errors
    /// `InvalidArgument` for SQL that does not parse or resolve, or that would write.
    pub async fn query(&self, sql: &str, params: Vec<ScalarValue>) -> Result<SendableRecordBatchStream> {
        let session = self.context(HashMap::new())?;
        let reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let mut frame = session.sql_with_options(sql, reads).await.map_err(|e| only_reads(from_datafusion(&e)))?;
        if !params.is_empty() {
            frame = frame.with_param_values(ParamValues::from(params)).map_err(|e| from_datafusion(&e))?;
        }
        frame.execute_stream().await.map_err(|e| from_datafusion(&e))
    }
}

/// A session with the dialect and the functions of a gateway and without tables: what compiles definitions where there
/// is no cluster.
///
/// # Errors
/// `Internal` if the session cannot be set up.
pub fn session_without_tables() -> Result<SessionContext> {
    empty_session(Arc::default())
}

/// A session as [`session_without_tables`] gives it, with these tables by `dataset.name`.
///
/// # Errors
/// `InvalidArgument` for a name without a dataset.
pub fn session_with(tables: Vec<(String, Arc<dyn TableProvider>)>) -> Result<SessionContext> {
    let session = session_without_tables()?;
    let catalog = MemoryCatalogProvider::new();
    for (full, table) in tables {
        let (dataset, name) = full.split_once('.').ok_or_else(|| Error::invalid(format!("table '{full}': write dataset.name")))?;
        if catalog.schema(dataset).is_none() {
            catalog.register_schema(dataset, Arc::new(MemorySchemaProvider::new())).map_err(|e| from_datafusion(&e))?;
        }
        let schema = catalog.schema(dataset).ok_or_else(|| Error::internal("a registered dataset is not there"))?;
        schema.register_table(name.to_owned(), table).map_err(|e| from_datafusion(&e))?;
    }
    session.register_catalog(CATALOG, Arc::new(catalog));
    Ok(session)
}

fn empty_session(runtime: Arc<RuntimeEnv>) -> Result<SessionContext> {
    let mut config = SessionConfig::new().with_information_schema(true).with_create_default_catalog_and_schema(false);
    config = config.with_default_catalog_and_schema(CATALOG, NO_DATASET);
    let parser = &mut config.options_mut().sql_parser;
    // The one dialect in which -> and ->> bind tighter than comparisons.
    parser.dialect = Dialect::PostgreSQL;
    parser.map_string_types_to_utf8view = false;
    let state = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
    let session = SessionContext::new_with_state(state);
    functions::register(&session).map_err(|e| from_datafusion(&e))?;
    Ok(session)
}

/// Says what to do instead of writing by SQL.
fn only_reads(error: Error) -> Error {
    if ["DDL not supported", "DML not supported", "Statement not supported"].iter().any(|refusal| error.message.contains(refusal)) {
        return Error::invalid(
            "SQL only reads here (SELECT, EXPLAIN, SHOW): create tables with POST /v1/tables, write rows with POST \
             /v1/tables/{table}/rows or /ingest, and define derived tables in YAML",
        );
    }
    error
}
