use super::error::into_datafusion;
use super::table::TabletTable;
use crate::cluster::{Cluster, near};
use async_trait::async_trait;
use common::Error;
use common::ids::TableId;
use common::schema::Table;
use common::version::VersionMap;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The version of each table that a session reads: given, or taken at its first use and kept.
#[derive(Debug)]
pub(super) struct Versions {
    cluster: Arc<Cluster>,
    pins: HashMap<TableId, VersionMap>,
    /// A plain lock for finding the cell; taking the snapshot waits on the cell alone.
    taken: Mutex<HashMap<TableId, Arc<OnceCell<VersionMap>>>>,
}

impl Versions {
    pub(super) fn new(cluster: Arc<Cluster>, pins: HashMap<TableId, VersionMap>) -> Self {
        Self { cluster, pins, taken: Mutex::default() }
    }

    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    pub(super) async fn of(&self, table: &Table) -> Result<VersionMap, Error> {
        if let Some(pin) = self.pins.get(&table.id) {
            return Ok(pin.clone());
        }
        let cell = self.taken.lock().unwrap_or_else(PoisonError::into_inner).entry(table.id).or_default().clone();
        cell.get_or_try_init(|| self.cluster.snapshot(table)).await.cloned()
    }
}

/// The datasets of the cluster as it was when the session began.
#[derive(Debug)]
pub(super) struct Datasets {
    tables: Arc<Vec<Arc<Table>>>,
    versions: Arc<Versions>,
}

impl Datasets {
    pub(super) fn new(tables: Vec<Arc<Table>>, versions: Arc<Versions>) -> Self {
        Self { tables: Arc::new(tables), versions }
    }
}

impl CatalogProvider for Datasets {
    fn schema_names(&self) -> Vec<String> {
        let names: BTreeSet<_> = self.tables.iter().filter_map(|t| t.name.split_once('.')).map(|(dataset, _)| dataset.to_owned()).collect();
        names.into_iter().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        // An unknown dataset is one without tables, so that a wrong name is met with near ones.
        Some(Arc::new(Dataset { name: name.to_owned(), tables: self.tables.clone(), versions: self.versions.clone() }))
    }
}

#[derive(Debug)]
struct Dataset {
    name: String,
    tables: Arc<Vec<Arc<Table>>>,
    versions: Arc<Versions>,
}

impl Dataset {
    fn find(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.iter().find(|t| t.name.split_once('.') == Some((self.name.as_str(), name)))
    }
}

#[async_trait]
impl SchemaProvider for Dataset {
    fn table_names(&self) -> Vec<String> {
        let mine = self.tables.iter().filter_map(|t| t.name.split_once('.')).filter(|(dataset, _)| *dataset == self.name);
        mine.map(|(_, name)| name.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if let Some(table) = self.find(name) {
            return Ok(Some(Arc::new(TabletTable::new(table.clone(), self.versions.clone()))));
        }
        let full = if self.name == super::NO_DATASET { name.to_owned() } else { format!("{}.{name}", self.name) };
        let near = near(&full, self.tables.iter().map(|t| t.name.as_str()));
        let hint = if near.is_empty() { "write dataset.name".to_owned() } else { format!("did you mean {}?", near.join(" or ")) };
        Err(into_datafusion(Error::not_found(format!("there is no table '{full}': {hint}"))))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}
