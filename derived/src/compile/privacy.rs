//! The tag rule: a tagged column that reaches an output column that does not carry the tag is an error, with the path
//! that it takes. A column may drop its tags only by `untag`, with a reason.

use super::Known;
use super::output::Fault;
use crate::definition::Definition;
use crate::lineage::ColumnRef;
use std::collections::{BTreeMap, BTreeSet};

/// The privacy tags of a table's columns, each with the path on which it came: `raw.users.email → app.people.mail`.
pub(crate) type Tags = BTreeMap<String, BTreeMap<String, String>>;

/// The tags of columns that no SQL makes.
pub(crate) fn declared<'a>(table: &str, notes: impl Iterator<Item = (&'a str, &'a [String])>) -> Tags {
    let one = |(column, tags): (&str, &[String])| {
        (column.to_owned(), tags.iter().map(|tag| (tag.clone(), format!("{table}.{column}"))).collect())
    };
    notes.filter(|(_, tags)| !tags.is_empty()).map(one).collect()
}

/// The tags of a definition's columns, of which `columns` are published; with what its author should know.
///
/// # Errors
/// The first tag that is neither carried on nor dropped.
pub(super) fn tags(definition: &Definition, columns: &[(&str, &[ColumnRef])], reads: &[&Known]) -> Result<(Tags, Vec<String>), Fault> {
    let reads: BTreeMap<&str, &Known> = reads.iter().map(|k| (k.table.name.as_str(), *k)).collect();
    let (mut out, mut warnings) = (Tags::new(), Vec::new());
    for untag in &definition.untag {
        if !columns.iter().any(|(name, _)| *name == untag.column) {
            let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
            return Err(("untag", format!("untag: '{}' is not an output column; there are {}", untag.column, names.join(", "))));
        }
    }
    for (name, from) in columns {
        let place = format!("{}.{name}", definition.name);
        let inherited = inherited(from, &reads);
        let said: BTreeSet<&String> = definition.columns.get(*name).into_iter().flat_map(|c| &c.tags).collect();
        let untagged = definition.untag.iter().any(|u| u.column == *name);
        if untagged && inherited.keys().all(|tag| said.contains(tag)) {
            warnings.push(format!("untag: {name}: nothing that it is made of has a tag to drop: remove it"));
        }
        if let (false, Some((tag, path))) = (untagged, inherited.iter().find(|(tag, _)| !said.contains(tag))) {
            let key = if definition.columns.is_empty() { "sql" } else { "columns" };
            return Err((
                key,
                format!(
                    "column '{name}' holds what is tagged '{tag}': {path} → {place}; tag it too (columns: {{{name}: {{tags: [{tag}]}}}}), \
                     or say why not (untag: {{column: {name}, reason: …}})"
                ),
            ));
        }
        let path = |tag: &String| inherited.get(tag).map_or_else(|| place.clone(), |path| format!("{path} → {place}"));
        let tags: BTreeMap<_, _> = said.into_iter().map(|tag| (tag.clone(), path(tag))).collect();
        if !tags.is_empty() {
            out.insert((*name).to_owned(), tags);
        }
    }
    Ok((out, warnings))
}

/// The tags of what a column is made of, each with one path.
fn inherited(from: &[ColumnRef], reads: &BTreeMap<&str, &Known>) -> BTreeMap<String, String> {
    let tags = from.iter().filter_map(|c| reads.get(c.table.as_str())?.tags.get(&c.column));
    let mut out = BTreeMap::new();
    for (tag, path) in tags.flatten() {
        out.entry(tag.clone()).or_insert_with(|| path.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::Project;
    use crate::project::Compiled;
    use crate::testing::{compiled, session};

    const PEOPLE: &str = "name: raw.people
key: [user_id: string]
columns: {user_id: {tags: [personal]}, email: {type: string, tags: [personal, contact]}, country: string}
undeclared: none
";
    const MACRO: &str = "{% macro domain(c) %}split_part({{ c }}, '@', 2){% endmacro %}";

    fn project(definitions: &[(&str, &str, &str)]) -> Compiled {
        let files = definitions.iter().map(|(name, more, sql)| {
            let indented = sql.replace('\n', "\n  ");
            (format!("derived/{name}.yaml"), format!("name: a.{name}\nkey: {{partition: [k]}}\n{more}\nsql: |\n  {indented}\n"))
        });
        let beside = [("sources/people.yaml", PEOPLE), ("macros/m.jinja", MACRO)].map(|(p, t)| (p.to_owned(), t.to_owned()));
        let files: Vec<(String, String)> = files.chain(beside).collect();
        compiled(&files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect::<Vec<_>>())
    }

    fn refused(sql: &str) -> String {
        let found = project(&[("x", "", sql)]);
        let problem = found.problems().next().unwrap_or_else(|| panic!("a tag was lost: {sql}"));
        assert!(problem.line > 0 && problem.file == "derived/x.yaml", "{problem}");
        problem.message.clone()
    }

    const JOIN: &str = "select e.event_id as k, p.email as mail from raw.events e join raw.people p on p.user_id = e.user_id";

    #[test]
    fn a_tag_that_is_lost_in_a_join_fails_validation_with_its_path() {
        let message = refused(JOIN);
        assert!(message.contains("'mail' holds what is tagged 'contact': raw.people.email → a.x.mail"), "{message}");
        assert!(message.contains("columns: {mail: {tags: [contact]}}") && message.contains("untag: {column: mail"), "{message}");
    }

    #[test]
    fn a_tag_that_is_lost_in_an_expression_fails_validation() {
        for sql in [
            "select country as k, length(email) as n from raw.people",
            "select country as k, case when email like '%.org' then 1 else 0 end as org from raw.people",
            "select country as k, count(distinct email) as n from raw.people group by 1",
            "select country as k, row_number() over (partition by country order by email) as n from raw.people",
            "with p as (select country, coalesce(email, '') as e from raw.people) select country as k, e from p",
            "select event_id as k, (select max(email) from raw.people p where p.country = e.device) as m from raw.events e",
        ] {
            assert!(refused(sql).contains("raw.people.email → a.x."), "{sql}");
        }
    }

    #[test]
    fn a_tag_that_is_lost_in_a_star_fails_validation() {
        assert!(refused("select p.country as k, p.* from raw.people p").contains("raw.people.user_id → a.x.user_id"));
    }

    #[test]
    fn a_tag_that_is_lost_in_a_macro_fails_validation() {
        let sql = "{% from \"m.jinja\" import domain %}select country as k, {{ domain('email') }} as domain from raw.people";
        assert!(refused(sql).contains("raw.people.email → a.x.domain"));
    }

    #[test]
    fn a_tag_is_followed_over_several_tables() {
        let tagged = "columns: {mail: {tags: [personal, contact]}}";
        let found = project(&[("x", tagged, JOIN), ("y", "", "select k, upper(mail) as m from a.x")]);
        let problem = found.problems().next().unwrap();
        assert!(problem.file == "derived/y.yaml" && problem.message.contains("raw.people.email → a.x.mail → a.y.m"), "{problem}");
        let x = found.artifacts().next().unwrap();
        assert_eq!(x.columns[1].tags, ["contact", "personal"]);
    }

    #[test]
    fn conditions_and_tags_that_are_carried_on_are_right() {
        let tagged = "columns: {mail: {tags: [personal, contact]}}";
        let found = project(&[
            ("x", tagged, JOIN),
            ("y", "", "select country as k, count(*) as n from raw.people where email like '%.org' group by 1"),
        ]);
        assert_eq!(found.problems().count(), 0);
    }

    #[test]
    fn a_column_drops_tags_only_by_untag_with_a_reason() {
        let untag = "untag: {column: n, reason: only a number is left}";
        let sql = "select country as k, count(distinct email) as n from raw.people group by 1";
        let found = project(&[("x", untag, sql), ("y", "", "select k, n from a.x")]);
        assert_eq!(found.problems().count(), 0);
        let x = found.artifacts().next().unwrap();
        assert_eq!(x.untagged, [("n".to_owned(), "only a number is left".to_owned())]);
        assert!(x.columns[1].tags.is_empty());
        for (untag, says) in [
            ("untag: {column: n}", "missing field `reason`"),
            ("untag: {column: n, reason: ' '}", "give a reason"),
            ("untag: [{column: m, reason: x}]", "'m' is not an output column"),
        ] {
            let found = project(&[("x", untag, sql)]);
            let problem = found.problems().next().unwrap();
            assert!(problem.message.contains(says) && problem.line == 3, "{problem}");
        }
        let stale = project(&[("x", "untag: {column: k, reason: x}", "select country as k from raw.people")]);
        assert!(stale.artifacts().next().unwrap().warnings[0].contains("remove it"));
    }

    #[test]
    fn a_tag_of_a_seed_counts_too() {
        let seeds = [
            ("seeds/vips.csv", "name,since\nann,2026-01-01\n"),
            ("seeds/vips.yaml", "name: core.vips\ncolumns: {name: {tags: [personal]}}"),
            ("derived/x.yaml", "name: a.x\nkey: {partition: [since]}\nsql: select since, max(name) as n from core.vips group by 1\n"),
        ];
        let project = Project::from_files(seeds.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect());
        let found = project.compile(&session, &[]);
        assert!(found.problems().next().unwrap().message.contains("core.vips.name → a.x.n"));
    }
}
