//! Two sets of rows and how they differ, for people.

use gateway::runner::rehearsal::ShownRow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Floats are the same up to this part of the larger one: sums may come in any order.
const TOLERANCE: f64 = 1e-9;

/// A line a row that is missing (`-`), too much (`+`) or other than expected (`~`, with the columns that differ); nothing
/// if there is no difference. Rows that share a key are compared with each other.
pub fn diff(key: &[String], want: Vec<ShownRow>, got: Vec<ShownRow>) -> String {
    let (missing, extra) = without_equals(want, got);
    let mut extra_by_key: BTreeMap<Vec<Option<String>>, Vec<ShownRow>> = BTreeMap::new();
    for row in extra {
        extra_by_key.entry(of_key(key, &row)).or_default().push(row);
    }
    let mut out = String::new();
    for row in missing {
        let partner = extra_by_key.get_mut(&of_key(key, &row)).and_then(|rows| if rows.is_empty() { None } else { Some(rows.remove(0)) });
        // Writing to a string cannot fail.
        let _ = match partner {
            None => writeln!(out, "- {}", text(&row)),
            Some(other) => writeln!(out, "~ {}: {}", text(&only(&row, |name| key.contains(name))), changes(&row, &other)),
        };
    }
    for row in extra_by_key.into_values().flatten() {
        let _ = writeln!(out, "+ {}", text(&row));
    }
    if !out.is_empty() {
        out.push_str("(- expected and not there, + there and not expected, ~ expected → there)\n");
    }
    out
}

/// Each row stands against one equal row at most: duplicates count.
fn without_equals(want: Vec<ShownRow>, mut got: Vec<ShownRow>) -> (Vec<ShownRow>, Vec<ShownRow>) {
    let mut missing = Vec::new();
    for row in want {
        match got.iter().position(|other| same_row(&row, other)) {
            Some(at) => _ = got.remove(at),
            None => missing.push(row),
        }
    }
    (missing, got)
}

fn same_row(a: &ShownRow, b: &ShownRow) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((an, av), (bn, bv))| an == bn && same(av, bv))
}

fn same(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let is_float = |text: &str| text.contains(['.', 'e', 'E']) && !text.starts_with('"');
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) if is_float(a) || is_float(b) => (x - y).abs() <= TOLERANCE * x.abs().max(y.abs()),
        _ => false,
    }
}

fn of_key(key: &[String], row: &ShownRow) -> Vec<Option<String>> {
    key.iter().map(|name| row.get(name).cloned()).collect()
}

fn only(row: &ShownRow, keep: impl Fn(&String) -> bool) -> ShownRow {
    row.iter().filter(|(name, _)| keep(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn text(row: &ShownRow) -> String {
    row.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ")
}

fn changes(want: &ShownRow, got: &ShownRow) -> String {
    let names: BTreeSet<&String> = want.keys().chain(got.keys()).collect();
    let value = |row: &ShownRow, name: &String| row.get(name).cloned().unwrap_or_else(|| "null".into());
    let pairs = names.into_iter().map(|name| (name, value(want, name), value(got, name)));
    pairs.filter(|(_, a, b)| !same(a, b)).map(|(name, a, b)| format!("{name}: {a} → {b}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, &str)]) -> ShownRow {
        cells.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn rows_are_matched_by_key_and_what_differs_is_named() {
        let want = vec![row(&[("k", "1"), ("n", "2")]), row(&[("k", "2"), ("n", "3")]), row(&[("k", "4")])];
        let got = vec![row(&[("k", "2"), ("n", "5"), ("m", "\"x\"")]), row(&[("k", "1"), ("n", "2")]), row(&[("k", "3")])];
        let lines: Vec<String> = diff(&["k".to_owned()], want, got).lines().map(str::to_owned).collect();
        assert_eq!(lines[..3], ["~ k: 2: m: null → \"x\", n: 3 → 5", "- k: 4", "+ k: 3"]);
    }

    #[test]
    fn duplicates_count_and_floats_may_be_off_by_the_order_of_sums() {
        let one = || row(&[("k", "1"), ("x", "0.30000000000000004")]);
        assert_eq!(diff(&[], vec![row(&[("k", "1"), ("x", "0.3")])], vec![one()]), "");
        assert!(diff(&[], vec![one()], vec![one(), one()]).starts_with("+ k: 1"));
        assert!(!diff(&[], vec![row(&[("k", "1")])], vec![row(&[("k", "2")])]).is_empty(), "integers are exact");
    }
}
