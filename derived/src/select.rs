//! Choosing tables of a project: `--select "app.users+ tag:finance,+path:derived/daily"`.
//!
//! A term is a name (with `*` for any text), `tag:`, `owner:`, `path:` (a file, a folder, or with `*`) or `changed`. `+`
//! before it adds all that it reads, directly or not, `+` after it all that reads it. Terms are joined by spaces or
//! commas; what any of them chooses is chosen.

use crate::graph;
use crate::project::{Compiled, NodeState};
use crate::yaml::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// A table of a project, as far as choosing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// `dataset.name`.
    pub name: String,
    /// Its file, relative to the project.
    pub file: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// What it reads.
    pub inputs: Vec<String>,
}

/// A parsed `--select`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    text: String,
    /// All that it reads.
    up: bool,
    /// All that reads it.
    down: bool,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Name(String),
    Tag(String),
    Owner(String),
    Path(String),
    Changed,
}

impl Selection {
    /// Reads a selection.
    ///
    /// # Errors
    /// A sentence that quotes the term.
    pub fn parse(text: &str) -> Result<Self, String> {
        let terms: Vec<_> = text.split([' ', ',', '\n']).filter(|t| !t.is_empty()).map(term).collect::<Result<_, _>>()?;
        if terms.is_empty() { Err("a selection is empty: name a table, or leave it out".into()) } else { Ok(Self(terms)) }
    }

    /// Whether it asks what has changed.
    #[must_use]
    pub fn asks_for_changes(&self) -> bool {
        self.0.iter().any(|t| t.what == What::Changed)
    }

    /// The names of what is chosen. `changed`: what `changed` stands for, if that is known.
    ///
    /// # Errors
    /// A sentence that quotes the term that chooses nothing, with near names.
    pub fn choose(&self, items: &[Item], changed: Option<&BTreeSet<String>>) -> Result<BTreeSet<String>, String> {
        let inputs: BTreeMap<&str, Vec<&str>> =
            items.iter().map(|i| (i.name.as_str(), i.inputs.iter().map(String::as_str).collect())).collect();
        let readers = graph::readers(&inputs);
        let mut out = BTreeSet::new();
        for term in &self.0 {
            let chosen = term.chosen(items, changed)?;
            if term.up {
                out.extend(graph::reached(&chosen, &inputs).into_iter().map(str::to_owned));
            }
            if term.down {
                out.extend(graph::reached(&chosen, &readers).into_iter().map(str::to_owned));
            }
            out.extend(chosen.into_iter().map(str::to_owned));
        }
        out.retain(|name| inputs.contains_key(name.as_str()));
        Ok(out)
    }
}

fn term(text: &str) -> Result<Term, String> {
    let bare = text.strip_prefix('+').unwrap_or(text);
    let (up, bare) = (bare.len() < text.len(), bare.strip_suffix('+').unwrap_or(bare));
    let down = text.len() > 1 && text.ends_with('+');
    let what = match bare.split_once(':') {
        _ if bare.is_empty() || bare.contains('+') => return Err(format!("selection '{text}': write +table, table+ or +table+")),
        Some((_, "")) => return Err(format!("selection '{text}': there is nothing behind the colon")),
        Some(("tag", tag)) => What::Tag(tag.to_owned()),
        Some(("owner", owner)) => What::Owner(owner.to_owned()),
        Some(("path", path)) => What::Path(path.trim_end_matches('/').to_owned()),
        Some((method, _)) => return Err(format!("selection '{text}': '{method}:' is unknown; there are tag:, owner: and path:")),
        None if bare == "changed" => What::Changed,
        None => What::Name(bare.to_owned()),
    };
    Ok(Term { text: text.to_owned(), up, down, what })
}

impl Term {
    fn chosen<'a>(&self, items: &'a [Item], changed: Option<&BTreeSet<String>>) -> Result<Vec<&'a str>, String> {
        let is = |item: &&Item| match &self.what {
            What::Name(pattern) => fits(pattern, &item.name),
            What::Tag(tag) => item.tags.contains(tag),
            What::Owner(owner) => item.owner.as_ref() == Some(owner),
            What::Path(path) => fits(path, &item.file) || item.file.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/')),
            What::Changed => changed.is_some_and(|c| c.contains(&item.name)),
        };
        if self.what == What::Changed && changed.is_none() {
            return Err("selection 'changed': what has changed is known only against a cluster: use it with plan".into());
        }
        let chosen: Vec<_> = items.iter().filter(is).map(|i| i.name.as_str()).collect();
        if chosen.is_empty() && self.what != What::Changed {
            return Err(format!("selection '{}' chooses nothing{}", self.text, self.hint(items)));
        }
        Ok(chosen)
    }

    fn hint(&self, items: &[Item]) -> String {
        let (said, near) = match &self.what {
            What::Name(name) => (name, nearest(name, items.iter().map(|i| i.name.as_str()))),
            What::Tag(tag) => (tag, nearest(tag, items.iter().flat_map(|i| i.tags.iter().map(String::as_str)))),
            What::Owner(owner) => (owner, nearest(owner, items.iter().filter_map(|i| i.owner.as_deref()))),
            What::Path(path) => (path, nearest(path, items.iter().map(|i| i.file.as_str()))),
            What::Changed => return String::new(),
        };
        near.filter(|near| near != said).map_or_else(String::new, |near| format!(": did you mean '{near}'?"))
    }
}

/// Whether a text is what a pattern with `*` for any text stands for.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| fits(rest, &text[at..]))
        }),
    }
}

impl Compiled {
    /// All tables of the project, for choosing among them.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        let source = self.sources.iter().map(|s| Item {
            name: s.spec.name.clone(),
            file: s.file.clone(),
            owner: s.owner.clone(),
            tags: s.tags.clone(),
            inputs: Vec::new(),
        });
        let seed = self.seeds.iter().map(|s| Item {
            name: s.spec.name.clone(),
            file: s.file.clone(),
            owner: s.owner.clone(),
            tags: s.tags.clone(),
            inputs: Vec::new(),
        });
        let node = self.nodes.iter().map(|n| {
            let plain = Item { name: n.name.clone(), file: n.file.clone(), ..Item::default() };
            match &n.state {
                NodeState::Compiled(a) => Item {
                    owner: a.owner.clone(),
                    tags: a.tags.clone(),
                    inputs: a.inputs.iter().map(|i| i.name.clone()).collect(),
                    ..plain
                },
                NodeState::Blocked(by) => Item { inputs: by.clone(), ..plain },
                NodeState::Failed(_) => plain,
            }
        });
        source.chain(seed).chain(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Item> {
        let item = |name: &str, file: &str, inputs: &[&str]| Item {
            name: name.into(),
            file: file.into(),
            inputs: inputs.iter().map(|i| (*i).to_owned()).collect(),
            ..Item::default()
        };
        let mut all = vec![
            item("raw.e", "sources/e.yaml", &[]),
            item("a.x", "derived/x.yaml", &["raw.e"]),
            item("a.y", "derived/daily/y.yaml", &["a.x"]),
            item("b.z", "derived/daily/z.yaml", &["a.y", "raw.e"]),
        ];
        all[2].tags.push("finance".into());
        all[3].owner = Some("ann".into());
        all
    }

    fn choose(text: &str) -> Result<Vec<String>, String> {
        Ok(Selection::parse(text)?.choose(&items(), None)?.into_iter().collect())
    }

    #[test]
    fn terms_choose_by_name_tag_owner_and_path_with_what_they_read_and_what_reads_them() {
        for (text, want) in [
            ("a.x", vec!["a.x"]),
            ("a.*", vec!["a.x", "a.y"]),
            ("*", vec!["a.x", "a.y", "b.z", "raw.e"]),
            ("a.x+", vec!["a.x", "a.y", "b.z"]),
            ("+a.y", vec!["a.x", "a.y", "raw.e"]),
            ("+a.y+", vec!["a.x", "a.y", "b.z", "raw.e"]),
            ("tag:finance", vec!["a.y"]),
            ("tag:finance+", vec!["a.y", "b.z"]),
            ("owner:ann", vec!["b.z"]),
            ("path:derived/daily", vec!["a.y", "b.z"]),
            ("path:derived/*z.yaml", vec!["b.z"]),
            ("+path:derived/x.yaml", vec!["a.x", "raw.e"]),
            ("a.x, owner:ann", vec!["a.x", "b.z"]),
            ("a.x owner:ann", vec!["a.x", "b.z"]),
        ] {
            assert_eq!(choose(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn a_term_that_chooses_nothing_is_an_error_with_a_hint() {
        for (text, says) in [
            ("a.xx", "did you mean 'a.x'"),
            ("tag:finanse", "did you mean 'finance'"),
            ("owner:", "behind the colon"),
            ("kind:x", "'kind:' is unknown"),
            ("a.x++", "write +table"),
            ("+", "write +table"),
            (" ,", "empty"),
            ("changed+", "against a cluster"),
        ] {
            let e = choose(text).unwrap_err();
            assert!(e.contains(says), "{text}: {e}");
        }
    }

    #[test]
    fn changed_stands_for_what_the_caller_knows() {
        let changed = BTreeSet::from(["a.y".to_owned()]);
        let chosen = Selection::parse("changed+").unwrap().choose(&items(), Some(&changed)).unwrap();
        assert_eq!(chosen.into_iter().collect::<Vec<_>>(), ["a.y", "b.z"]);
        assert!(Selection::parse("changed").unwrap().choose(&items(), Some(&BTreeSet::new())).unwrap().is_empty());
    }
}
