//! Which columns of its inputs each output column of a plan is made of.
//!
//! Values are followed, not names: through projections, `*`, macros and common table expressions (which the plan no
//! longer knows), expressions, aggregates, windows, joins, unions and subqueries. What only decides *which* rows there
//! are (filters, join conditions, groups) is kept apart, as conditions.

mod walk;

use datafusion::logical_expr::LogicalPlan;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ColumnRef {
    /// `dataset.name`.
    pub table: String,
    /// The column, key part or family.
    pub column: String,
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

/// What a plan's result is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// Of each column of the result, in order; sorted.
    pub columns: Vec<Vec<ColumnRef>>,
    /// What decides which rows there are; sorted.
    pub conditions: Vec<ColumnRef>,
}

/// The lineage of an analyzed plan.
pub(crate) fn of(plan: &LogicalPlan) -> Lineage {
    let mut walk = walk::Walk::default();
    let columns = walk.plan(plan);
    let (conditions, columns) = (walk.named(&walk.conditions), columns.iter().map(|ids| walk.named(ids)).collect());
    Lineage { columns, conditions }
}

#[cfg(test)]
mod tests {
    use crate::document::Artifact;
    use crate::testing::compiled;

    fn artifact(sql: &str) -> Artifact {
        let yaml = format!("name: a.x\nkey: {{partition: [k]}}\nsql: |\n  {}\n", sql.replace('\n', "\n  "));
        let macros = ("macros/m.jinja", "{% macro hour(c) %}date_trunc('hour', {{ c }}){% endmacro %}");
        let found = compiled(&[("derived/x.yaml", &yaml), macros]);
        let problems: Vec<_> = found.problems().map(ToString::to_string).collect();
        found.artifacts().next().unwrap_or_else(|| panic!("{sql}: {problems:?}")).clone()
    }

    /// `column: table.column + …` of each output column; tables without their dataset.
    fn flows(sql: &str) -> Vec<String> {
        let short = |table: &str| table.trim_start_matches("raw.").to_owned();
        let columns = artifact(sql).columns;
        let of = |c: &crate::document::OutputColumn| {
            let from: Vec<_> = c.from.iter().map(|r| format!("{}.{}", short(&r.table), r.column)).collect();
            format!("{}: {}", c.name, from.join(" + "))
        };
        columns.iter().map(of).collect()
    }

    #[test]
    fn values_are_followed_through_a_join() {
        let sql = "select e.user_id as k, u.country, e.cents from raw.events e left join raw.users u on u.user_id = e.user_id";
        assert_eq!(flows(sql), ["k: events.user_id", "country: users.country", "cents: events.cents"]);
        let using = "select user_id as k, country from raw.events join raw.users using (user_id)";
        assert_eq!(flows(using)[1], "country: users.country");
    }

    #[test]
    fn values_are_followed_through_expressions() {
        let sql = "select user_id as k, case when device = 'ios' then cents * 2 else 0 end as c, 1 as one from raw.events";
        assert_eq!(flows(sql), ["k: events.user_id", "c: events.cents + events.device", "one: "]);
    }

    #[test]
    fn values_are_followed_through_a_star() {
        let sql = "select u.user_id as k, e.* from raw.users u join (select device, cents from raw.events) e on true";
        assert_eq!(flows(sql), ["k: users.user_id", "device: events.device", "cents: events.cents"]);
    }

    #[test]
    fn values_are_followed_through_a_macro() {
        let sql = "{% from \"m.jinja\" import hour %}select user_id as k, {{ hour('at') }} as h from raw.events";
        assert_eq!(flows(sql), ["k: events.user_id", "h: events.at"]);
    }

    #[test]
    fn values_are_followed_through_common_table_expressions_and_unions() {
        let sql = "with a as (select user_id, device as d from raw.events), b as (select * from a union all select user_id, country from raw.users) select user_id as k, d from b";
        assert_eq!(flows(sql), ["k: events.user_id + users.user_id", "d: events.device + users.country"]);
        let recursive = "with recursive r as (select user_id as k, cents as n from raw.events union all select k, n - 1 from r where n > 0) select k, n from r";
        assert_eq!(flows(recursive), ["k: events.user_id", "n: events.cents"]);
    }

    #[test]
    fn values_are_followed_through_subqueries() {
        let sql = "select user_id as k, (select max(country) from raw.users u where u.user_id = e.user_id) as c, \
                   exists (select 1 from raw.users u where u.country = e.device) as x, cents in (select length(country) from raw.users) as i from raw.events e";
        assert_eq!(
            flows(sql),
            ["k: events.user_id", "c: users.country", "x: events.device + users.country", "i: events.cents + users.country"]
        );
    }

    #[test]
    fn values_are_followed_through_aggregates_and_windows() {
        let sql = "select device as k, count(distinct user_id) as n, sum(cents) filter (where event_id <> '') as c, count(*) as rows from raw.events group by device";
        assert_eq!(flows(sql), ["k: events.device", "n: events.user_id", "c: events.cents + events.event_id", "rows: "]);
        let window = "select user_id as k, row_number() over (partition by device order by at, event_id) as r, lag(cents) over (order by at, event_id) as b from raw.events";
        assert_eq!(flows(window)[1..], ["r: events.at + events.device + events.event_id", "b: events.at + events.cents + events.event_id"]);
        let sets = "select device as k, user_id, sum(cents) as c from raw.events group by rollup (device, user_id)";
        assert_eq!(flows(sets), ["k: events.device", "user_id: events.user_id", "c: events.cents"]);
        let on = "select distinct on (device) device as k, cents from raw.events order by device, at";
        assert_eq!(flows(on), ["k: events.device", "cents: events.cents"]);
        let unnested = "select user_id as k, unnest(make_array(device, event_id)) as v from raw.events";
        assert_eq!(flows(unnested), ["k: events.user_id", "v: events.device + events.event_id"]);
    }

    #[test]
    fn what_decides_which_rows_there_are_is_kept_apart() {
        let found = artifact(
            "select e.user_id as k from raw.events e join raw.users u on u.user_id = e.user_id where u.country = 'de' and e.cents > 1",
        );
        let names: Vec<_> = found.conditions.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["raw.events.cents", "raw.events.user_id", "raw.users.country", "raw.users.user_id"]);
        assert_eq!(found.columns[0].from.len(), 1);
    }
}
