use common::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Which table reads which, by name.
pub(super) type Graph<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// Refuses definitions that read each other in a circle. A table may read itself: its compiler has
/// checked that it reads earlier windows only.
///
/// # Errors
/// `InvalidArgument`, naming the circle.
pub(super) fn check_acyclic(graph: &Graph<'_>) -> Result<()> {
    let mut done = BTreeSet::new();
    for name in graph.keys() {
        visit(graph, name, &mut Vec::new(), &mut done)?;
    }
    Ok(())
}

fn visit<'a>(graph: &Graph<'a>, name: &'a str, path: &mut Vec<&'a str>, done: &mut BTreeSet<&'a str>) -> Result<()> {
    if done.contains(name) {
        return Ok(());
    }
    if let Some(from) = path.iter().position(|n| *n == name) {
        let circle = path[from..].iter().chain([&name]).copied().collect::<Vec<_>>().join(" → ");
        return Err(Error::invalid(format!("definitions read each other in a circle: {circle}")));
    }
    path.push(name);
    for input in graph.get(name).into_iter().flatten().filter(|input| **input != name) {
        visit(graph, input, path, done)?;
    }
    path.pop();
    done.insert(name);
    Ok(())
}
