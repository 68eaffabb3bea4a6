use common::catalog::{Catalog, Tablet};
use common::ids::{TableId, TabletId};
use common::schema::Table;
use common::{Error, Result};
use datafusion::common::utils::datafusion_strsim::levenshtein;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Names further apart than this are no typing mistakes of each other.
const NEAR: usize = 3;

/// The catalog as this process last saw it, indexed for routing.
#[derive(Debug, Default)]
pub(super) struct View {
    catalog: Arc<Catalog>,
    tables: BTreeMap<String, Arc<Table>>,
    /// In key order, as in the catalog.
    tablets: HashMap<TableId, Vec<Tablet>>,
}

impl View {
    pub(super) fn of(catalog: Catalog) -> Self {
        let tables = catalog.tables.iter().map(|t| (t.name.clone(), Arc::new(t.clone()))).collect();
        let mut tablets: HashMap<_, Vec<_>> = HashMap::new();
        for tablet in &catalog.tablets {
            tablets.entry(tablet.table).or_default().push(tablet.clone());
        }
        Self { catalog: Arc::new(catalog), tables, tablets }
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(super) fn tables(&self) -> Vec<Arc<Table>> {
        self.tables.values().cloned().collect()
    }

    pub(super) fn table(&self, name: &str) -> Result<Arc<Table>> {
        self.tables.get(name).cloned().ok_or_else(|| {
            let near = near(name, self.tables.keys().map(String::as_str));
            let hint = if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) };
            Error::not_found(format!("there is no table '{name}'{hint}"))
        })
    }

    /// A table's tablets in key order; `NotFound` if the table has gone.
    pub(super) fn tablets(&self, table: &Table) -> Result<&[Tablet]> {
        let tablets = self.tablets.get(&table.id).filter(|_| self.tables.contains_key(&table.name));
        tablets.map(Vec::as_slice).ok_or_else(|| Error::not_found(format!("table '{}' has been dropped", table.name)))
    }

    /// The tablet that holds `key`.
    pub(super) fn tablet_at(&self, table: &Table, key: &[u8]) -> Result<&Tablet> {
        let tablets = self.tablets(table)?;
        let after = tablets.partition_point(|t| t.range.start.as_ref() <= key);
        let found = after.checked_sub(1).and_then(|i| tablets.get(i)).filter(|t| t.range.contains(key));
        found.ok_or_else(|| Error::not_mine(format!("table '{}' has no tablet for a key now", table.name)))
    }

    /// The tablet that holds the last keys before `end` (`None`: the last keys of all).
    pub(super) fn tablet_before(&self, table: &Table, end: Option<&[u8]>) -> Result<&Tablet> {
        let tablets = self.tablets(table)?;
        let after = end.map_or(tablets.len(), |end| tablets.partition_point(|t| t.range.start.as_ref() < end));
        let found = after.checked_sub(1).and_then(|i| tablets.get(i));
        found.ok_or_else(|| Error::not_mine(format!("table '{}' has no tablet for a key now", table.name)))
    }

    /// Where a tablet is served; `NotMine` while it waits for an owner or if it is no more.
    pub(super) fn address(&self, table: TableId, id: TabletId) -> Result<&str> {
        let tablet = self.tablet(table, id).ok_or_else(|| Error::not_mine(format!("tablet {id} is no more")))?;
        let address = self.catalog.address_of(tablet).filter(|_| tablet.open);
        address.ok_or_else(|| Error::not_mine(format!("tablet {id} is not open: it waits for a tablet server")))
    }

    pub(super) fn tablet(&self, table: TableId, id: TabletId) -> Option<&Tablet> {
        self.tablets.get(&table)?.iter().find(|t| t.id == id)
    }
}

/// Up to three of `names` that may have been meant by `name`, nearest first, in quotes.
pub(crate) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let last = |n: &str| n.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |n: &str| if last(n) == last(name) { 0 } else { levenshtein(n, name) };
    let mut found: Vec<_> = names.map(|n| (distance(n), n)).filter(|(d, _)| *d <= NEAR).collect();
    found.sort_unstable();
    found.into_iter().take(3).map(|(_, n)| format!("'{n}'")).collect()
}
