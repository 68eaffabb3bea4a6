use crate::changes::Part;
use crate::ids::TableId;
use crate::schema::Table;
use imbl::OrdMap;
use std::sync::Arc;

/// Tables, found by id and by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    by_id: OrdMap<TableId, Arc<Table>>,
    ids: OrdMap<String, TableId>,
}

impl Tables {
    /// The table of this id.
    #[must_use]
    pub fn get(&self, id: TableId) -> Option<&Arc<Table>> {
        self.by_id.get(&id)
    }

    /// The table of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Table>> {
        self.by_id.get(self.ids.get(name)?)
    }

    /// All tables by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.by_id.values()
    }

    /// All tables by name.
    pub fn by_name(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.ids.values().filter_map(|id| self.by_id.get(id))
    }

    /// Whether both are the same in memory: then nothing differs.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.by_id.ptr_eq(&other.by_id)
    }

    /// Adds a table, or puts it in the place of the one that has its id.
    pub fn insert(&mut self, table: Arc<Table>) {
        self.remove(table.id);
        self.ids.insert(table.name.clone(), table.id);
        self.by_id.insert(table.id, table);
    }

    fn remove(&mut self, id: TableId) {
        let Some(old) = self.by_id.remove(&id) else { return };
        // Another table may have taken the name over already.
        if self.ids.get(&old.name) == Some(&id) {
            self.ids.remove(&old.name);
        }
    }

    pub(super) fn change(&mut self, part: Part<Arc<Table>>) {
        part.gone.into_iter().for_each(|id| self.remove(id));
        part.put.into_iter().for_each(|table| self.insert(table));
    }
}

impl FromIterator<Arc<Table>> for Tables {
    fn from_iter<I: IntoIterator<Item = Arc<Table>>>(tables: I) -> Self {
        let mut all = Self::default();
        tables.into_iter().for_each(|table| all.insert(table));
        all
    }
}

impl From<Vec<Arc<Table>>> for Tables {
    fn from(tables: Vec<Arc<Table>>) -> Self {
        tables.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{TableKind, TableSpec};

    fn table(id: u64, name: &str) -> Arc<Table> {
        let spec: TableSpec = serde_json::from_value(serde_json::json!({ "name": name, "key": [{ "k": "string" }] })).unwrap();
        Arc::new(Table::create(TableId(id), TableKind::Raw, spec).unwrap())
    }

    #[test]
    fn tables_that_swap_their_names_are_found_by_the_new_ones() {
        let mut tables: Tables = [table(1, "a.x"), table(2, "a.y")].into_iter().collect();
        tables.change(Part { put: vec![table(1, "a.y"), table(2, "a.x")], gone: Vec::new() });
        assert_eq!((tables.named("a.x").unwrap().id, tables.named("a.y").unwrap().id), (TableId(2), TableId(1)));
        tables.change(Part { put: vec![table(1, "a.x")], gone: vec![TableId(2)] });
        assert_eq!(tables.named("a.x").unwrap().id, TableId(1));
        assert!(tables.named("a.y").is_none() && tables.get(TableId(2)).is_none());
        assert_eq!((tables.iter().count(), tables.by_name().count()), (1, 1));
    }
}
