//! The order of tables by what they read.

use std::collections::{BTreeMap, BTreeSet};

/// Names so that each comes after those it reads, itself aside; names that no table has are left out, and tables
/// on a cycle, or behind one, too. The same for the same graph, whatever the order it is given in.
pub fn order<'a, I: Iterator<Item = &'a str>>(tables: impl Iterator<Item = (&'a str, I)>) -> Vec<&'a str> {
    let graph: BTreeMap<&str, Vec<&str>> = tables.map(|(name, inputs)| (name, inputs.collect())).collect();
    let mut readers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut waits: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, inputs) in &graph {
        for input in inputs.iter().filter(|i| *i != name && graph.contains_key(*i)) {
            readers.entry(input).or_default().push(name);
            *waits.entry(name).or_default() += 1;
        }
    }
    let mut out = Vec::with_capacity(graph.len());
    let mut ready: Vec<&str> = graph.keys().copied().filter(|name| !waits.contains_key(name)).collect();
    while !ready.is_empty() {
        let mut next = Vec::new();
        for reader in ready.iter().flat_map(|name| readers.get(name).into_iter().flatten()) {
            if let Some(left) = waits.get_mut(reader) {
                *left -= 1;
                if *left == 0 {
                    next.push(*reader);
                }
            }
        }
        next.sort_unstable();
        out.append(&mut ready);
        ready = next;
    }
    out
}

/// Who reads each name, of a graph that says what each reads.
#[must_use]
pub fn readers<'a>(inputs: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut readers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, inputs) in inputs {
        inputs.iter().for_each(|input| readers.entry(input).or_default().push(name));
    }
    readers
}

/// All names that edges lead to from some names; those themselves only if an edge leads back to them.
#[must_use]
pub fn reached<'a>(from: &[&'a str], edges: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let (mut seen, mut left) = (BTreeSet::new(), from.to_vec());
    while let Some(name) = left.pop() {
        left.extend(edges.get(name).into_iter().flatten().filter(|next| seen.insert(**next)));
    }
    seen
}

/// The names on one cycle, each reading the next; `None` if there is none. A table that reads itself alone makes none.
#[must_use]
pub fn cycle<'a>(graph: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let sorted = order(graph.iter().map(|(name, inputs)| (*name, inputs.iter().copied())));
    // Each table left reads another one left, or it would have been sorted; so a walk must meet itself.
    let sorted: BTreeSet<&str> = sorted.into_iter().collect();
    if sorted.len() == graph.len() {
        return None;
    }
    let left = |name: &&str| graph.contains_key(*name) && !sorted.contains(name);
    let mut path = vec![*graph.keys().find(|n| left(n))?];
    loop {
        let last = *path.last()?;
        let next = *graph.get(last)?.iter().find(|n| **n != last && left(n))?;
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
        assert_eq!(cycle(&graph), None);
        assert_eq!(order(graph.iter().map(|(n, i)| (*n, i.iter().copied()))), ["a", "b", "c"]);
    }
}
