//! Decisions that are kept from one snapshot of facts to the next, so that only what changed is decided anew.

use super::{Decision, Facts, State, table};
use crate::graph;
use std::collections::{BTreeMap, BTreeSet};

/// What deciding on a table has altered.
struct Outcome {
    decision: bool,
    /// Descendants see the table otherwise.
    state: bool,
}

/// Whether what there is for a name is other than before.
fn put<T: PartialEq>(all: &mut BTreeMap<String, T>, name: &str, new: Option<T>) -> bool {
    if all.get(name) == new.as_ref() {
        return false;
    }
    match new {
        Some(new) => all.insert(name.to_owned(), new),
        None => all.remove(name),
    };
    true
}

/// The decisions on all tables. After [`Self::decide_all`], [`Self::decide`] gives what deciding on everything would give, as long
/// as the caller names every table of whose own facts one is other than before.
#[derive(Debug, Default)]
pub struct Decider {
    /// Names, ancestors first.
    order: Vec<String>,
    places: BTreeMap<String, usize>,
    /// Who reads each, by place: always later ones.
    readers: Vec<Vec<usize>>,
    decisions: BTreeMap<String, Decision>,
    states: BTreeMap<String, State>,
}

impl Decider {
    /// Decides on every table, of these definitions.
    pub fn decide_all(&mut self, facts: &Facts<'_>) {
        let inputs = facts.artifacts.values().map(|a| (a.name.as_str(), a.inputs.iter().map(|i| i.name.as_str())));
        self.order = graph::order(inputs).into_iter().map(str::to_owned).collect();
        self.places = self.order.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        self.readers = vec![Vec::new(); self.order.len()];
        for (at, name) in self.order.iter().enumerate() {
            let inputs = facts.artifacts.get(name).into_iter().flat_map(|a| &a.inputs).filter(|i| i.name != *name);
            let before: BTreeSet<usize> = inputs.filter_map(|i| self.places.get(&i.name).copied()).collect();
            before.into_iter().for_each(|input| self.readers[input].push(at));
        }
        (self.decisions, self.states) = (BTreeMap::new(), BTreeMap::new());
        for at in 0..self.order.len() {
            self.decide_one(facts, at);
        }
    }

    /// Decides anew on these tables and on those that read what now stands otherwise; the names of those whose decision is another
    /// one. Tables that no definition makes are passed over.
    pub fn decide(&mut self, facts: &Facts<'_>, changed: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
        let left = changed.into_iter().filter_map(|name| self.places.get(name.as_ref()).copied()).collect();
        self.decide_places(facts, left)
    }

    /// Decides on every table anew, of the same definitions: at another time. The names of those whose decision is another one.
    pub fn decide_again(&mut self, facts: &Facts<'_>) -> Vec<String> {
        self.decide_places(facts, (0..self.order.len()).collect())
    }

    fn decide_places(&mut self, facts: &Facts<'_>, mut left: BTreeSet<usize>) -> Vec<String> {
        let mut others = Vec::new();
        while let Some(at) = left.pop_first() {
            let Outcome { decision, state } = self.decide_one(facts, at);
            if state {
                left.extend(&self.readers[at]);
            }
            if decision {
                others.push(self.order[at].clone());
            }
        }
        others
    }

    fn decide_one(&mut self, facts: &Facts<'_>, at: usize) -> Outcome {
        let name = &self.order[at];
        let decided = facts.artifacts.get(name).and_then(|artifact| table::decide(facts, artifact, &self.states));
        let (decision, state) = decided.unzip();
        Outcome { decision: put(&mut self.decisions, name, decision), state: put(&mut self.states, name, state) }
    }

    /// The decision on one table.
    #[must_use]
    pub fn of(&self, table: &str) -> Option<&Decision> {
        self.decisions.get(table)
    }

    /// All decisions, by table.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.values()
    }

    /// All decisions, ancestors first.
    #[must_use]
    pub fn into_decisions(mut self) -> Vec<Decision> {
        self.order.iter().filter_map(|name| self.decisions.remove(name)).collect()
    }
}
