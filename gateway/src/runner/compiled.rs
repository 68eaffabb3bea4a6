//! The definitions of a catalog, compiled, with what following their inputs takes.

use super::changes::columns_of;
use super::query;
use crate::sql::Sql;
use common::Result;
use common::catalog::{Catalog, Definition};
use common::environment::NEXT;
use common::ids::TableId;
use common::schema::Table;
use common::time::Micros;
use derived::document::Artifact;
use derived::sql::at_run_time;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A compiled definition with what following its inputs takes.
pub struct Compiled {
    /// As in the catalog.
    pub fingerprint: String,
    /// As in the catalog.
    applied_at: Micros,
    /// Its inputs as its SQL names them, each with the table that it finds: that depends on what else its environment has.
    found: Vec<(String, String)>,
    /// The definition.
    pub artifact: Arc<Artifact>,
    /// The columns of each input whose changes count.
    columns: HashMap<String, Vec<String>>,
}

impl Compiled {
    /// The columns of an input whose changes count.
    #[must_use]
    pub fn columns(&self, input: &str) -> &[String] {
        self.columns.get(input).map(Vec::as_slice).unwrap_or_default()
    }

    async fn of(sql: &Sql, catalog: &Catalog, definition: &Definition) -> Result<Self> {
        let written = Artifact::from_document(&definition.document)?;
        let find = |input: &str| found_in(catalog, definition.environment(), input);
        let found = written.inputs.iter().map(|i| (i.name.clone(), find(&i.name))).collect();
        let artifact = written.placed(&definition.name, find)?;
        let context = sql.context(HashMap::new())?;
        let some_window = artifact.window.as_ref().map(|w| (w.windows.floor(Micros(0)), w.windows.next(Micros(0))));
        let mut columns: HashMap<String, Vec<String>> = HashMap::new();
        for query in artifact.queries(some_window).into_iter().take(1) {
            let plan = query::plan(&context, &at_run_time(&query.sql, Micros(0))).await?;
            columns = columns_of(&context, &plan, &artifact.inputs)?;
        }
        let (fingerprint, applied_at) = (definition.fingerprint.clone(), definition.applied_at);
        Ok(Self { fingerprint, applied_at, found, artifact: Arc::new(artifact), columns })
    }

    fn is_of(&self, definition: &Definition, catalog: &Catalog) -> bool {
        let environment = definition.environment();
        let same = self.fingerprint == definition.fingerprint && self.applied_at == definition.applied_at;
        // In production names are what they say: nothing need be looked for.
        same && (environment.is_empty() || self.finds_the_same(environment, catalog))
    }

    fn finds_the_same(&self, environment: &str, catalog: &Catalog) -> bool {
        self.found.iter().all(|(input, found)| *found == found_in(catalog, environment, input))
    }
}

/// The table that a definition of an environment finds for an input.
fn found_in(catalog: &Catalog, environment: &str, input: &str) -> String {
    catalog.resolve(environment, input).map_or_else(|| input.to_owned(), |t| t.name.clone())
}

/// All definitions of a catalog.
#[derive(Default)]
pub struct Definitions {
    /// Those that decode, by table name.
    pub compiled: BTreeMap<String, Arc<Compiled>>,
    /// Why the others do not.
    pub broken: BTreeMap<String, String>,
    /// The tables that definitions read and that have no windows, with the names of those that read each.
    pub unwindowed: Vec<(Arc<Table>, Vec<String>)>,
    /// Who reads each table.
    readers: HashMap<TableId, Vec<String>>,
    /// Changes are being built that are to take the place of others.
    pub promoting: bool,
}

impl Definitions {
    /// Compiles those that are new or changed, and keeps the others.
    pub async fn renew(&mut self, sql: &Sql, catalog: &Catalog) {
        let mut known = std::mem::take(&mut self.compiled);
        *self = Self { promoting: catalog.definitions.values().any(|d| d.environment() == NEXT), ..Self::default() };
        for (name, definition) in &catalog.definitions {
            let compiled = match known.remove(name).filter(|c| c.is_of(definition, catalog)) {
                Some(compiled) => Ok(compiled),
                None => Compiled::of(sql, catalog, definition).await.map(Arc::new),
            };
            match compiled {
                Ok(compiled) => drop(self.compiled.insert(name.clone(), compiled)),
                Err(e) => drop(self.broken.insert(name.clone(), e.message)),
            }
        }
        self.relate(catalog);
    }

    fn relate(&mut self, catalog: &Catalog) {
        let mut unwindowed = BTreeSet::new();
        for (name, compiled) in &self.compiled {
            for table in compiled.artifact.inputs.iter().filter_map(|i| catalog.table(&i.name)) {
                self.readers.entry(table.id).or_default().push(name.clone());
                if self.compiled.get(&table.name).is_none_or(|c| c.artifact.window.is_none()) {
                    unwindowed.insert(table.id);
                }
            }
        }
        let with_readers = |id: TableId| Some((catalog.table_by_id(id)?.clone(), self.readers_of(id).to_vec()));
        self.unwindowed = unwindowed.into_iter().filter_map(with_readers).collect();
    }

    /// The names of the definitions that read a table.
    #[must_use]
    pub fn readers_of(&self, table: TableId) -> &[String] {
        self.readers.get(&table).map(Vec::as_slice).unwrap_or_default()
    }
}
