use common::catalog::{Catalog, CatalogChanges, Tablet};
use common::ids::{TableId, TabletId};
use common::schema::Table;
use common::{Error, Result};
use std::sync::Arc;
use strsim::levenshtein;

/// Names further apart than this are no typing mistakes of each other.
const NEAR: usize = 3;

/// The catalog as this process last saw it, for routing.
#[derive(Debug, Default)]
pub(super) struct View {
    catalog: Arc<Catalog>,
}

impl View {
    /// The view after changes; `None` if they do not begin at this one.
    pub(super) fn after(&self, changes: CatalogChanges) -> Option<Self> {
        self.catalog.after(changes).map(|catalog| Self { catalog: Arc::new(catalog) })
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(super) fn tables(&self) -> Vec<Arc<Table>> {
        self.catalog.tables.by_name().cloned().collect()
    }

    pub(super) fn table(&self, name: &str) -> Result<Arc<Table>> {
        self.catalog.table(name).cloned().ok_or_else(|| {
            let near = near(name, self.catalog.tables.by_name().map(|t| t.name.as_str()));
            let hint = if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) };
            Error::not_found(format!("there is no table '{name}'{hint}"))
        })
    }

    /// A table's tablets in key order; `NotFound` if the table has gone.
    pub(super) fn tablets(&self, table: &Table) -> Result<&[Tablet]> {
        match self.catalog.tablets_of(table.id) {
            tablets if !tablets.is_empty() && self.catalog.table_by_id(table.id).is_some() => Ok(tablets),
            _ => Err(Error::not_found(format!("table '{}' has been dropped", table.name))),
        }
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
        self.catalog.tablets.get(id).filter(|t| t.table == table)
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
