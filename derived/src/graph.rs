//! The order of tables by what they read.

use std::collections::BTreeMap;

/// Names so that each comes after those it reads; names that no table has are left out, and tables
/// on a cycle, or behind one, too. The same for the same graph, whatever the order it is given in.
pub fn order<'a, I: Iterator<Item = &'a str>>(tables: impl Iterator<Item = (&'a str, I)>) -> Vec<&'a str> {
    let mut graph: BTreeMap<&str, Vec<&str>> = tables.map(|(name, inputs)| (name, inputs.collect())).collect();
    let mut out = Vec::with_capacity(graph.len());
    loop {
        let ready: Vec<_> = graph.iter().filter(|(_, i)| !i.iter().any(|i| graph.contains_key(i))).map(|(n, _)| *n).collect();
        if ready.is_empty() {
            return out;
        }
        graph.retain(|name, _| !ready.contains(name));
        out.extend(ready);
    }
}

/// The names on one cycle, each reading the next; `None` if there is none.
#[must_use]
pub fn cycle<'a>(graph: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let sorted = order(graph.iter().map(|(name, inputs)| (*name, inputs.iter().copied())));
    // Each table left reads another one left, or it would have been sorted; so a walk must meet itself.
    let left = |name: &&str| graph.contains_key(*name) && !sorted.contains(name);
    let mut path = vec![*graph.keys().find(|n| left(n))?];
    loop {
        let next = *graph.get(path.last()?)?.iter().find(|n| left(n))?;
        if let Some(at) = path.iter().position(|n| *n == next) {
            return Some(path.split_off(at));
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_come_first_and_cycles_are_named() {
        let mut graph = BTreeMap::from([("c", vec!["a", "b"]), ("b", vec!["a"]), ("a", vec!["raw"])]);
        assert_eq!(order(graph.iter().map(|(n, i)| (*n, i.iter().copied()))), ["a", "b", "c"]);
        assert_eq!(cycle(&graph), None);
        graph.insert("a", vec!["c"]);
        assert_eq!(cycle(&graph), Some(vec!["a", "c"]));
        graph.insert("a", vec!["a"]);
        assert_eq!(cycle(&graph), Some(vec!["a"]));
        assert_eq!(order(graph.iter().map(|(n, i)| (*n, i.iter().copied()))), Vec::<&str>::new());
    }
}
