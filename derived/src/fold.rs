//! The merge strategy: what is published for a key is the fold of one part per window, in window
//! order, by a rule for each column. A part is the fold of the key's rows in that window.
//!
//! Nothing is accumulated across runs: a window that runs again replaces its parts and the key is
//! folded anew, so every rule is exact under corrections, deletes and any order of runs.

mod part;
mod rules;

pub use part::Part;
pub use rules::{MergeColumn, MergeRules, Rule};

use common::value::Value;

/// A row's values, or a part's, in the order they were declared.
pub type Values = Vec<Option<Value>>;

impl MergeRules {
    /// The part that rows of one key make within a window, in any order; `None` for no rows.
    /// A row is the values of [`MergeRules::columns`], with that of the order column (`None` without one).
    #[must_use]
    pub fn part(&self, mut rows: Vec<(Option<Value>, Values)>) -> Option<Part> {
        rows.sort_by(|a, b| part::order(a.0.as_ref(), b.0.as_ref()).then_with(|| part::order_all(&a.1, &b.1)));
        let mut rows = rows.into_iter();
        let first = Part(self.columns.iter().zip(rows.next()?.1).map(|(c, v)| c.rule.begin(v)).collect());
        Some(rows.fold(first, |part, (_, row)| {
            let later = self.columns.iter().zip(row).map(|(c, v)| c.rule.begin(v)).collect();
            self.join(part, Part(later))
        }))
    }

    /// What is published for a key from its parts in window order; `None`: the key is gone.
    #[must_use]
    pub fn fold(&self, parts: impl IntoIterator<Item = Part>) -> Option<Values> {
        parts.into_iter().reduce(|earlier, later| self.join(earlier, later)).map(|p| p.0)
    }

    fn join(&self, earlier: Part, later: Part) -> Part {
        let pairs = earlier.0.into_iter().zip(later.0);
        Part(self.columns.iter().zip(pairs).map(|(c, (a, b))| c.rule.join(a, b)).collect())
    }
}

#[cfg(test)]
mod tests;
