//! What scans of a table ask for again and again, found instead of made.

use super::filter::Filter;
use super::needs::Needs;
use super::projection::Projection;
use arc_swap::ArcSwap;
use common::Result;
use common::schema::Table;
use std::sync::Arc;

/// Lists of columns that are remembered.
const HELD: usize = 8;

/// A list of columns, bound to its table.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) projection: Arc<Projection>,
    /// Of a scan without conditions.
    pub(super) needs: Arc<Needs>,
}

/// The lists of columns that scans of one table asked for last.
#[derive(Debug, Default)]
pub(crate) struct Projections {
    /// The newest first.
    held: ArcSwap<Vec<Arc<Bound>>>,
}

impl Projections {
    /// The columns `names` of `table`, which is the same at every call.
    ///
    /// # Errors
    /// As [`Projection::new`].
    pub(super) fn of(&self, table: &Arc<Table>, names: &[String]) -> Result<Arc<Bound>> {
        if let Some(bound) = self.held.load().iter().find(|bound| bound.projection.shows(names)) {
            return Ok(bound.clone());
        }
        let projection = Arc::new(Projection::new(table.clone(), names)?);
        let needs = Arc::new(Needs::new(&projection, &Filter::default()));
        let bound = Arc::new(Bound { projection, needs });
        // Of two at once one is lost, and made again when it is asked for again.
        let held = self.held.load();
        self.held.store(Arc::new(std::iter::once(&bound).chain(held.iter().take(HELD - 1)).cloned().collect()));
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::TableId;
    use common::schema::TableKind;

    #[test]
    fn what_was_asked_for_lately_is_found_again() {
        let spec = serde_json::json!({ "name": "raw.all", "key": [{"user": "string"}], "columns": {"a": "int64", "b": "int64"} });
        let table = Arc::new(Table::create(TableId(1), TableKind::Raw, serde_json::from_value(spec).unwrap()).unwrap());
        let known = Projections::default();
        let of = |names: &[&str]| known.of(&table, &names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        let (both, swapped, one) = (of(&["a", "b"]).unwrap(), of(&["b", "a"]).unwrap(), of(&["a"]).unwrap());
        for (bound, names) in [(&both, &["a", "b"][..]), (&swapped, &["b", "a"]), (&one, &["a"])] {
            let fields = bound.projection.schema().fields();
            assert_eq!(fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), names);
            assert!(Arc::ptr_eq(bound, &of(names).unwrap()));
        }
        assert!(of(&["a", "a"]).is_err() && of(&["c"]).is_err());
        let lists = ["user", "a", "b"].iter().flat_map(|first| ["user", "a", "b"].map(|second| [*first, second]));
        lists.filter(|[first, second]| first != second).for_each(|names| drop(of(&names).unwrap()));
        [["user", "a", "b"], ["b", "a", "user"], ["a", "user", "b"]].iter().for_each(|names| drop(of(names).unwrap()));
        drop(of(&["user"]).unwrap());
        assert!(!Arc::ptr_eq(&one, &of(&["a"]).unwrap()), "the oldest is forgotten");
    }
}
