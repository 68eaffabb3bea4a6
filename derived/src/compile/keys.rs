//! Whether the changed rows of an input that is read without time bound tell what they reach: which row keys of a table
//! without windows, which windows of one that has them.

use crate::bounds::Reach;
use crate::touched::{Changes, touched};
use common::schema::Table;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One input that changed, for a plan that is never run.
struct Alone<'a>(&'a Table);

impl Changes for Alone<'_> {
    fn changed(&self, table: &str) -> Option<Arc<dyn TableSource>> {
        (table == self.0.name).then(|| provider_as_source(Arc::new(EmptyTable::new(self.0.arrow_schema()))))
    }

    fn old(&self, table: &str) -> Option<Arc<dyn TableSource>> {
        self.changed(table)
    }
}

/// What is asked of changed rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// Which row keys they touch: the positions of the key's columns in the plan's result.
    Keys(&'a [usize]),
    /// Which windows: the position of the time column.
    Windows(usize),
}

/// Adds to what is known of each input whether its changed rows lead to what they touch, or why not.
pub(super) fn add<'a>(
    found: &mut BTreeMap<String, (Reach, String)>,
    optimized: &LogicalPlan,
    asked: Asked<'_>,
    inputs: impl Iterator<Item = &'a Table>,
) {
    for table in inputs {
        if found.get(&table.name).is_some_and(|(reach, _)| reach.is_bounded()) {
            continue;
        }
        let positions = match &asked {
            Asked::Keys(positions) => positions,
            Asked::Windows(position) => std::slice::from_ref(position),
        };
        let told = match (touched(optimized, positions, &Alone(table)), asked) {
            (Ok(_), Asked::Keys(_)) => {
                (Reach::Keys, "the keys that its changed rows lead to are computed anew, unless they are many".to_owned())
            }
            (Ok(_), Asked::Windows(_)) => {
                (Reach::Keys, "a query leads from its changed rows to the windows that they reach, unless they are many".to_owned())
            }
            (Err(why), Asked::Keys(_)) => (Reach::All, format!("every change computes the whole anew, as {}", why.0)),
            (Err(why), Asked::Windows(_)) => match found.remove(&table.name) {
                Some((reach, known)) => (reach, format!("{known}, and {}", why.0)),
                None => (Reach::All, why.0),
            },
        };
        found.insert(table.name.clone(), told);
    }
}
