use super::*;
use crate::bounds::Reach;
use crate::definition::Need;
use crate::document::{Artifact, Strategy};
use crate::problem::Problem;
use crate::testing::{compiled, session};
use common::schema::TableSpec;
use common::time::Micros;
use common::version::RangeSet;
use std::collections::BTreeMap;
use std::path::Path;

/// One definition with this SQL and more keys.
fn one(sql: &str, more: &str) -> Result<Artifact, Problem> {
    let indented = sql.replace('\n', "\n  ");
    let yaml = format!("name: a.x\nkey: {{partition: [user_id], cluster: [day], unique: [user_id, day]}}\n{more}\nsql: |\n  {indented}\n");
    let compiled = compiled(&[("derived/x.yaml", &yaml)]);
    match &compiled.nodes[0].state {
        NodeState::Compiled(artifact) => Ok(artifact.as_ref().clone()),
        NodeState::Failed(problem) => Err(problem.clone()),
        NodeState::Blocked(by) => panic!("blocked by {by:?}"),
    }
}

const DAILY: &str = "window: {every: day}\ntime_column: day";

fn daily(sql: &str) -> Artifact {
    one(sql, DAILY).unwrap()
}

/// The days of January 2026 that a change of raw.events on the 10th at noon makes dirty.
fn dirty_days(artifact: &Artifact) -> Vec<u32> {
    let at = Micros::parse("2026-01-10T12:00:00Z").unwrap();
    let input = artifact.input("raw.events").unwrap();
    let dirty = artifact.dirty(input, &RangeSet::of(at, Micros(at.0 + 1)));
    let day = |d: u32| Micros::parse(&format!("2026-01-{d:02}")).unwrap();
    (1..31).filter(|d| dirty.covers(day(*d), day(d + 1))).collect()
}

fn is_all(artifact: &Artifact, input: &str) -> bool {
    artifact.input(input).unwrap().reach == Reach::All
}

fn is_keys(artifact: &Artifact, input: &str) -> bool {
    artifact.input(input).unwrap().reach == Reach::Keys
}

#[test]
fn a_change_dirties_the_window_that_its_time_follows_straight_into() {
    for sql in [
        "select user_id, at::date as day, count(*) as n from raw.events group by 1, 2",
        "select user_id, date_trunc('day', at) as day, count(*) as n from raw.events where device = 'ios' group by user_id, date_trunc('day', at)",
        "select user_id, date_bin(interval '1 day', at) as day, event_id from raw.events",
        "with e as (select user_id, at as t from raw.events) select distinct user_id, cast(t as date) as day from e",
        "select user_id, day, max(n) as n from (select user_id, device, at::date as day, count(*) as n from raw.events group by 1, 2, 3) group by 1, 2",
        "select user_id, at::date as day from raw.events union all select user_id, date_trunc('day', at)::date from raw.events where cents > 0",
        "select user_id, at::date as day, row_number() over (partition by at::date order by at, user_id, event_id) as n from raw.events",
        "select e.user_id, e.at::date as day, u.country from raw.events e left join raw.users u on u.user_id = e.user_id",
        "select a.user_id, a.at::date as day from raw.events a join raw.events b on a.user_id = b.user_id and a.at::date = b.at::date",
        "select a.user_id, a.at::date as day, b.n from raw.events a left join (select at::date as d, count(*) as n from raw.events group by 1) b on b.d = a.at::date",
        "select a.user_id, a.at::date as day from raw.events a, raw.events b where a.at::date = b.at::date and a.user_id = b.user_id",
        "select user_id, at::date as day from raw.events where exists (select 1 from raw.users u where u.user_id = events.user_id)",
    ] {
        assert_eq!(dirty_days(&daily(sql)), [10], "{sql}");
    }
}

#[test]
fn a_shifted_time_dirties_the_window_that_it_lands_in() {
    let artifact = daily("select user_id, (at + interval '36 hours')::date as day, event_id from raw.events");
    assert_eq!(dirty_days(&artifact), [12]);
    let read = artifact
        .reads(artifact.input("raw.events").unwrap(), Some((Micros::parse("2026-01-12").unwrap(), Micros::parse("2026-01-13").unwrap())));
    assert_eq!(read.unwrap().start, Micros::parse("2026-01-10T12:00:00Z").unwrap());
}

#[test]
fn what_does_not_follow_straight_reaches_all_windows() {
    for sql in [
        "select user_id, max(at)::date as day from raw.events group by 1",
        "select user_id, at::date as day, count(*) over () as n from raw.events",
        "select user_id, at::date as day from raw.events order by at limit 10",
        "select user_id, at::date as day from raw.events where cents > (select avg(cents) from raw.events)",
        "select user_id, at::date as day, count(*) as n from raw.events group by rollup (user_id, at::date)",
        "select distinct on (user_id) user_id, at::date as day from raw.events order by user_id, at",
    ] {
        assert!(is_all(&daily(sql), "raw.events"), "{sql}");
    }
}

#[test]
fn where_time_does_not_tell_a_query_leads_from_changed_rows_to_their_windows() {
    for (sql, input) in [
        ("select e.user_id, e.at::date as day, u.country from raw.events e join raw.users u using (user_id)", "raw.users"),
        (
            "select e.user_id, e.at::date as day from raw.events e where e.user_id not in (select user_id from raw.users where country = 'x' and user_id is not null) and e.user_id in (select user_id from raw.users)",
            "raw.events",
        ),
        (
            "select user_id, at::date as day, lag(at) over (partition by user_id order by at, event_id) as before from raw.events",
            "raw.events",
        ),
        ("select a.user_id, a.at::date as day from raw.events a join raw.events b on a.user_id = b.user_id", "raw.events"),
        (
            "select a.user_id, b.at::date as day from raw.events a left join raw.events b on a.user_id = b.user_id and a.at::date = b.at::date",
            "raw.events",
        ),
        (
            "select coalesce(a.user_id, b.user_id) as user_id, coalesce(a.at, b.at)::date as day from raw.events a full join raw.events b on a.event_id = b.event_id",
            "raw.events",
        ),
        ("select user_id, (at + interval '1 month')::date as day from raw.events", "raw.events"),
    ] {
        let artifact = daily(sql);
        assert!(is_keys(&artifact, input) || artifact.input(input).unwrap().reach.is_bounded(), "{sql}: {artifact:?}");
    }
    let met_by_all = daily("select e.user_id, e.at::date as day, u.country from raw.events e cross join raw.users u");
    assert!(is_all(&met_by_all, "raw.users"));
    assert!(met_by_all.input("raw.users").unwrap().why.contains("every row"), "{}", met_by_all.input("raw.users").unwrap().why);
}

#[test]
fn a_table_with_a_unique_key_and_no_window_is_incremental_by_key_or_says_why_not() {
    let by_key = |sql: &str| {
        let yaml = format!("name: a.x\nkey: {{partition: [user_id], unique: [user_id]}}\nsql: {sql}\n");
        compiled(&[("derived/x.yaml", &yaml)]).artifacts().next().unwrap().clone()
    };
    let counts = by_key("select user_id, count(*) as n, max(at) as last from raw.events group by user_id");
    assert!(counts.is_by_key() && is_keys(&counts, "raw.events"));
    assert!(crate::explain::explain(&counts).contains("computed by key"));
    let ranked = by_key("select user_id, rank() over (order by country) as r from raw.users");
    assert!(!ranked.is_by_key());
    let text = crate::explain::explain(&ranked);
    assert!(text.contains("computed whole at every change") && text.contains("as a window function looks at all rows"), "{text}");
    let limited = by_key("select user_id, country from raw.users order by country, user_id limit 10");
    assert!(crate::explain::explain(&limited).contains("a LIMIT looks at all rows"));
    let doubled = "name: a.x\nkey: {partition: [user_id]}\nsql: select user_id, device from raw.events\n";
    assert!(!compiled(&[("derived/x.yaml", doubled)]).artifacts().next().unwrap().is_by_key(), "rows may be alike");
}

#[test]
fn under_per_window_the_filters_on_window_ends_bound_what_is_read() {
    let more = format!("{DAILY}\nmeaning: per_window");
    let compile = |filter: &str| {
        one(&format!("select user_id, min(at)::date as day, count(*) as n from raw.events where {filter} group by user_id"), &more)
    };
    let filters = [
        ("at >= {{ window.start }} and at < {{ window.end }}", vec![10]),
        ("at between {{ window.start }} and {{ window.end }} - interval '1 microsecond'", vec![10]),
        ("at >= {{ window.start }} - interval '2 days' and {{ window.end }} > at", vec![10, 11, 12]),
        ("date_trunc('day', at) = {{ window.start }}", vec![10]),
        ("at < {{ window.end }} and cents > 0", (10..31).collect()),
    ];
    for (filter, days) in filters {
        assert_eq!(dirty_days(&compile(filter).unwrap()), days, "{filter}");
    }
    assert!(is_all(&compile("cents > 0 or at < {{ window.end }}").unwrap(), "raw.events"));
    let in_subquery = "user_id in (select user_id from raw.events where at >= {{ window.start }} and at < {{ window.end }})";
    assert!(is_all(&compile(in_subquery).unwrap(), "raw.events"), "the outer scan is not filtered");
}

#[test]
fn window_ends_and_their_meaning_go_together() {
    let sql = "select user_id, at::date as day from raw.events where at >= {{ window.start }}";
    assert!(one(sql, DAILY).unwrap_err().message.contains("meaning: per_window"));
    assert!(one(sql, "").unwrap_err().message.contains("no window"));
    let plain = "select user_id, at::date as day from raw.events";
    assert!(one(plain, &format!("{DAILY}\nmeaning: per_window")).unwrap_err().message.contains("no effect"));
}

#[test]
fn declared_back_and_ahead_are_what_is_read() {
    let more = format!("{DAILY}\ninputs: {{raw.events: {{back: 2d, need: latest}}}}");
    let artifact = one("select user_id, max(at)::date as day from raw.events group by 1", &more).unwrap();
    assert_eq!(dirty_days(&artifact), [10, 11, 12]);
    assert_eq!(artifact.inputs[0].need, Need::Latest);
    let none = format!("{DAILY}\nstart: 2026-01-01\ninputs: {{raw.users: {{back: 2d}}}}");
    assert!(one("select user_id, date '2026-01-01' as day from raw.users", &none).unwrap_err().message.contains("no time column"));
    let unread = format!("{DAILY}\ninputs: {{raw.users: {{need: latest}}}}");
    assert!(one("select user_id, at::date as day from raw.events", &unread).unwrap_err().message.contains("does not read 'raw.users'"));
}

#[test]
fn an_ignored_input_makes_nothing_due() {
    let more = format!("{DAILY}\ninputs: {{raw.users: {{on_change: ignore}}}}");
    let artifact = one("select e.user_id, e.at::date as day, u.country from raw.events e join raw.users u using (user_id)", &more).unwrap();
    assert!(artifact.dirty(artifact.input("raw.users").unwrap(), &RangeSet::all()).is_empty());
    assert!(artifact.warnings.is_empty(), "{:?}", artifact.warnings);
}

#[test]
fn needs_default_to_complete_where_time_is_bounded() {
    let artifact = daily("select e.user_id, e.at::date as day, u.country from raw.events e join raw.users u using (user_id)");
    assert_eq!(artifact.input("raw.events").unwrap().need, Need::Complete);
    assert_eq!(artifact.input("raw.users").unwrap().need, Need::Latest);
    assert_eq!(artifact.warnings, Vec::<String>::new());
    let crossed = daily("select e.user_id, e.at::date as day, u.country from raw.events e cross join raw.users u");
    assert!(crossed.warnings[0].starts_with("raw.users: it has no time column"), "{:?}", crossed.warnings);
}

#[test]
fn functions_that_the_inputs_do_not_decide_are_refused_with_a_hint() {
    for (sql, hint) in [
        ("select user_id, at::date as day, random() as r from raw.events", "hash"),
        ("select user_id, at::date as day, uuid() as r from raw.events", "hash"),
        ("select user_id, at::date as day from raw.events where at < now()", "window.end"),
        ("select user_id, current_date as day from raw.events", "window.end"),
    ] {
        let e = one(sql, DAILY).unwrap_err();
        assert!(e.message.contains(hint), "{sql}: {e}");
    }
}

#[test]
fn results_that_depend_on_the_order_of_equal_rows_are_warned_of() {
    let warned = |sql: &str| one(sql, "").unwrap().warnings.iter().any(|w| w.contains("total"));
    assert!(warned("select user_id, at::date as day, row_number() over (partition by user_id order by at) as n from raw.events"));
    assert!(!warned(
        "select user_id, at::date as day, row_number() over (partition by user_id order by at, event_id) as n from raw.events"
    ));
    assert!(warned("select user_id, at::date as day from raw.events limit 5"));
}

#[test]
fn only_one_select_is_a_definition() {
    for sql in
        ["drop table raw.events", "select 1 as a; select 2 as a", "insert into raw.events select 1", "create table a.b as select 1", ""]
    {
        let e = one(sql, "").unwrap_err();
        assert!(e.message.contains("one SELECT") || e.message.contains("No SQL"), "{sql}: {e}");
    }
    assert!(one("select * from events", "").unwrap_err().message.contains("write dataset.name"));
}

#[test]
fn errors_in_sql_name_file_and_line() {
    let e = one("select user_id,\n  at::date as day\nfrom raw.events wher x", "").unwrap_err();
    assert_eq!((e.file.as_str(), e.line), ("derived/x.yaml", 7), "{e}");
    let e = one("select user_idd, at::date as day from raw.events", "").unwrap_err();
    assert!(e.message.contains("user_idd") && e.line > 0, "{e}");
    let yaml = "name: a.x\nkey: {partition: [user_id]}\nsql: x.sql\n";
    let found = compiled(&[("derived/x.yaml", yaml), ("derived/x.sql", "select user_id\nfrm raw.events")]);
    let e = found.problems().next().unwrap();
    assert_eq!((e.file.as_str(), e.line), ("derived/x.sql", 2), "{e}");
    let missing = compiled(&[("derived/x.yaml", yaml)]);
    assert!(missing.problems().next().unwrap().message.contains("no file 'derived/x.sql'"));
}

#[test]
fn output_types_map_to_value_types_or_are_refused_with_a_hint() {
    for (expr, hint) in [
        ("cast(1.5 as decimal(10, 2))", "cast it to double"),
        ("null", "cast(null as text)"),
        ("make_array(1, 2)", "unnest"),
        ("at - at", "cast it to a number"),
        ("named_struct('a', 1)", "select its fields"),
    ] {
        let e = one(&format!("select user_id, at::date as day, {expr} as v from raw.events"), "").unwrap_err();
        assert!(e.message.contains(hint), "{expr}: {e}");
    }
    let artifact = one(
        "select user_id, at::date as day, count(*) as n, avg(cents) as mean, bool_or(cents > 0) as paid, max(at) as last, row_number() over (order by user_id, at::date) as rank from raw.events group by 1, 2",
        "",
    )
    .unwrap();
    let types: Vec<_> = artifact.columns.iter().map(|c| c.ty.name()).collect();
    assert_eq!(types, ["string", "date", "int64", "float64", "bool", "timestamp", "int64"]);
}

#[test]
fn the_row_key_has_a_tie_break_unless_it_holds_a_unique_key() {
    let names = |a: &Artifact| a.spec.key.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    let sql = "select user_id, at::date as day, event_id from raw.events";
    assert_eq!(names(&one(sql, "").unwrap()), ["user_id", "day"]);
    let with_key = |key: &str| {
        let yaml = format!("name: a.x\nkey: {key}\nsql: {sql}\n");
        let compiled = compiled(&[("derived/x.yaml", &yaml)]);
        let artifact = compiled.artifacts().next().cloned();
        artifact.ok_or_else(|| compiled.problems().next().unwrap().message.clone())
    };
    let tied = with_key("{partition: [user_id], cluster: [day desc]}").unwrap();
    assert_eq!(names(&tied), ["user_id", "day", "_tie"]);
    assert!(tied.spec.key[1].descending && tied.spec.key[2].hidden);
    assert!(with_key("{partition: [user_id], unique: [event_id]}").unwrap_err().contains("add it to cluster"));
    assert!(with_key("{partition: [salt(user_id, 8)]}").unwrap_err().contains("not built"));
    assert!(with_key("{partition: [nobody]}").unwrap_err().contains("there are user_id, day, event_id"));
}

#[test]
fn a_merge_publishes_its_key_and_ruled_columns() {
    let yaml = "name: a.seen\nstrategy: {merge: {key: [user_id], order_by: at, columns: {first_at: min, device: latest}}}\nwindow: {every: day}\ntime_column: at\nsql: select user_id, at, at as first_at, device from raw.events\n";
    let found = compiled(&[("derived/seen.yaml", yaml)]);
    let artifact = found.artifacts().next().unwrap_or_else(|| panic!("{:?}", found.problems().next()));
    assert_eq!(artifact.spec.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["first_at", "device"]);
    assert!(artifact.spec.families["_parts"].hidden && artifact.spec.time_column.is_none());
    assert!(matches!(&artifact.strategy, Strategy::Merge(m) if m.key == ["user_id"]));
    let extra = yaml.replace("select user_id,", "select cents, user_id,");
    let found = compiled(&[("derived/seen.yaml", &extra)]);
    assert!(found.problems().next().unwrap().message.contains("'cents' has no merge rule"));
}

#[test]
fn comments_and_layout_do_not_change_the_fingerprint() {
    let plain = daily("select user_id, at::date as day, count(*) as n from raw.events group by 1, 2");
    let same = daily(
        "-- how often\nselect user_id,\n  cast(at as date) as day,\n  COUNT(*) AS n\nfrom raw.events\ngroup by user_id, cast(at as date)",
    );
    assert_eq!(plain.fingerprint, same.fingerprint);
    let described = one(
        "select user_id, at::date as day, count(*) as n from raw.events group by 1, 2",
        &format!("{DAILY}\ndescription: x\nretries: 9"),
    )
    .unwrap();
    assert_eq!(plain.fingerprint, described.fingerprint);
    for (sql, more) in [
        ("select user_id, at::date as day, count(*) + 1 as n from raw.events group by 1, 2", DAILY),
        ("select user_id, at::date as day, count(*) as m from raw.events group by 1, 2", DAILY),
        ("select user_id, at::date as day, count(*) as n from raw.events group by 1, 2", "window: {every: week}\ntime_column: day"),
    ] {
        assert_ne!(plain.fingerprint, one(sql, more).unwrap().fingerprint, "{sql} {more}");
    }
}

#[test]
fn a_changed_variable_marks_exactly_the_tables_whose_plan_changed() {
    let compile = |value: u32| {
        let file = |name: &str, sql: &str| format!("name: a.{name}\nkey: {{partition: [user_id]}}\nsql: \"{sql}\"\n");
        let (x, y) = (file("x", "select user_id from raw.events where cents > {{ var.least }}"), file("y", "select user_id from a.x"));
        let settings = format!("variables: {{least: {value}}}\n");
        compiled(&[("derived/x.yaml", &x), ("derived/y.yaml", &y), ("stele.yaml", &settings)])
    };
    let prints = |c: &Compiled| c.artifacts().map(|a| a.fingerprint.clone()).collect::<Vec<_>>();
    let (a, b) = (prints(&compile(1)), prints(&compile(2)));
    assert!(a[0] != b[0] && a[1] == b[1] && a.len() == 2);
}

#[test]
fn a_broken_file_is_one_failed_table_and_blocks_what_reads_it() {
    let file = |name: &str, from: &str| format!("name: a.{name}\nkey: {{partition: [user_id]}}\nsql: select user_id from {from}\n");
    let found = compiled(&[
        ("derived/bad.yaml", "name: a.bad\nkeyy: {}\nsql: select 1\n"),
        ("derived/child.yaml", &file("child", "a.bad")),
        ("derived/grandchild.yaml", &file("grandchild", "a.child")),
        ("derived/good.yaml", &file("good", "raw.events")),
        ("derived/lost.yaml", &file("lost", "rw.events")),
    ]);
    let state = |name: &str| &found.nodes.iter().find(|n| n.name == name).unwrap().state;
    assert!(matches!(state("a.good"), NodeState::Compiled(_)));
    assert!(matches!(state("a.bad"), NodeState::Failed(p) if p.file == "derived/bad.yaml" && p.line == 2));
    for name in ["a.child", "a.grandchild"] {
        assert_eq!(state(name), &NodeState::Blocked(vec!["a.bad".into()]), "{name}");
    }
    assert!(matches!(state("a.lost"), NodeState::Failed(p) if p.message.contains("did you mean raw.events")));
    let broken_source = compiled(&[("sources/z.yaml", "name: raw.z\nkeyy: []\n"), ("derived/x.yaml", &file("x", "raw.z"))]);
    assert_eq!(broken_source.nodes[0].state, NodeState::Blocked(vec!["raw.z".into()]));
    assert!(broken_source.problems().next().unwrap().file == "sources/z.yaml");
}

#[test]
fn cycles_and_two_definitions_of_one_table_name_all_their_files() {
    let file = |name: &str, from: &str| format!("name: {name}\nkey: {{partition: [user_id]}}\nsql: select user_id from {from}\n");
    let found = compiled(&[
        ("derived/x.yaml", &file("a.x", "a.y")),
        ("derived/y.yaml", &file("a.y", "a.x")),
        ("derived/z.yaml", &file("a.z", "a.y")),
    ]);
    for problem in found.problems() {
        assert!(problem.message.contains("a.x → a.y → a.x") && problem.message.contains("derived/x.yaml, derived/y.yaml"), "{problem}");
    }
    assert_eq!(found.problems().count(), 2);
    assert!(found.nodes.iter().any(|n| n.name == "a.z" && matches!(n.state, NodeState::Blocked(_))));
    let twice = compiled(&[("derived/x.yaml", &file("a.x", "raw.events")), ("derived/y.yaml", &file("a.x", "raw.users"))]);
    let all: Vec<_> = twice.problems().map(ToString::to_string).collect();
    assert!(all.len() == 2 && all[0].contains("derived/y.yaml") && all[1].contains("derived/x.yaml"), "{all:?}");
    let like_source = compiled(&[("derived/x.yaml", &file("raw.users", "raw.events"))]);
    assert!(like_source.problems().next().unwrap().message.contains("sources/users.yaml"));
    let own = compiled(&[("derived/x.yaml", &file("a.x", "a.x"))]);
    assert!(own.problems().next().unwrap().message.contains("reads the table that it makes, which only tables with a window may"));
}

#[test]
fn a_table_may_read_itself_only_before_each_window() {
    let of = |sql: &str, more: &str| one(sql, &format!("{DAILY}\n{more}"));
    let typed = "columns: {user_id: {type: string}, day: {type: date}, n: {type: int64}}";
    let fresh = "(select user_id, at::date as day, count(*) as n from raw.events group by 1, 2)";
    let before = |on: &str| {
        format!("select e.user_id, e.day, e.n + coalesce(b.n, 0) as n from {fresh} e left join a.x b on b.user_id = e.user_id and {on}")
    };
    for on in ["b.day = e.day - interval '1 day'", "b.day + interval '1 day' = e.day", "e.day = (b.day + interval '1 day')::date"] {
        let artifact = of(&before(on), typed).unwrap_or_else(|e| panic!("{on}: {e}"));
        assert!(artifact.reads_itself() && artifact.input("a.x").unwrap().reach.is_bounded(), "{on}");
        assert_eq!(dirty_days(&artifact), [10]);
        let (start, end) = (Micros::parse("2026-01-10").unwrap(), Micros::parse("2026-01-11").unwrap());
        assert_eq!(artifact.reads(artifact.input("a.x").unwrap(), Some((start, end))).unwrap().end, start);
    }
    for (on, says) in [("b.day = e.day", "up to the window's end"), ("b.day < e.day", "not only earlier windows")] {
        let e = of(&before(on), typed).unwrap_err();
        assert!(e.message.contains(says), "{on}: {e}");
    }
    let pieces = "select user_id, {{ window.start }}::date as day, sum(n) as n from a.x where day < {{ window.start }}::date group by 1, 2";
    assert!(of(pieces, &format!("{typed}\nstart: 2026-01-01\nmeaning: per_window")).is_ok());
    let e = of(&before("b.day = e.day - interval '1 day'"), "columns: {user_id: {type: string}, day: {type: date}}").unwrap_err();
    assert!(e.message.contains("No field named b.n") && e.message.contains("declare all its columns"), "{e}");
    let e = of(&before("b.day = e.day - interval '1 day'"), &typed.replace("int64", "string")).unwrap_err();
    assert!(e.message.contains("'n'") || e.message.contains("coalesce"), "{e}");
}

#[test]
fn append_without_a_window_takes_row_wise_sql_over_an_append_only_input_alone() {
    let log = "name: raw.log\nkey: [user_id: string, event_id: string]\ncolumns: {device: string}\nappend_only: true\n";
    let of = |sql: &str| {
        let yaml = format!("name: a.x\nstrategy: append\nkey: {{partition: [user_id]}}\nsql: {sql}\n");
        let found = compiled(&[("sources/log.yaml", log), ("derived/x.yaml", &yaml)]);
        found.artifacts().next().cloned().ok_or_else(|| found.problems().map(ToString::to_string).collect::<String>())
    };
    for sql in [
        "select user_id, device from raw.log where device <> 'x'",
        "select user_id, unnest(string_to_array(device, ',')) as d from raw.log",
        "select l.user_id, u.country from raw.log l left join raw.users u on u.user_id = l.user_id",
        "select u.user_id, l.device from raw.users u join raw.log l on u.user_id = l.user_id",
        "select user_id, device from raw.log where user_id in (select user_id from raw.users)",
    ] {
        let artifact = of(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(artifact.driver.as_deref(), Some("raw.log"), "{sql}");
        assert!(artifact.inputs.iter().all(|i| (i.on_change == crate::definition::OnChange::Exact) == (i.name == "raw.log")));
    }
    for (sql, says) in [
        ("select user_id, count(*) as n from raw.log group by user_id", "several rows at once"),
        ("select distinct user_id from raw.log", "several rows at once"),
        ("select user_id, row_number() over (partition by user_id order by event_id) as n from raw.log", "several rows at once"),
        ("select user_id, device from raw.log order by event_id limit 3", "LIMIT"),
        ("select user_id from raw.users", "raw.users may change"),
        ("select a.user_id from raw.log a join raw.log b on a.user_id = b.user_id", "2 times"),
        ("select user_id from raw.log union all select user_id from raw.log", "not row-wise"),
        ("select coalesce(l.user_id, u.user_id) as user_id from raw.log l full join raw.users u on u.user_id = l.user_id", "full join"),
    ] {
        let e = of(sql).unwrap_err();
        assert!(e.contains(says), "{sql}: {e}");
    }
    let second = "name: a.y\nstrategy: append\nkey: {partition: [user_id]}\nsql: select user_id from a.x\n";
    let first = "name: a.x\nstrategy: append\nkey: {partition: [user_id]}\nsql: select user_id, device from raw.log\n";
    let found = compiled(&[("sources/log.yaml", log), ("derived/x.yaml", first), ("derived/y.yaml", second)]);
    assert_eq!(found.artifacts().filter(|a| a.driver.is_some()).count(), 2, "another such table may drive it");
}

#[test]
fn now_is_the_windows_end_or_the_scheduled_time_and_refused_without_either() {
    let counted = "select user_id, now()::date as day, count(*) as n from raw.events where at > now() - interval '7 days' group by 1, 2";
    let e = one(counted, "").unwrap_err();
    assert!(e.message.contains("write a schedule"), "{e}");
    let scheduled = one(counted, "schedule: every 1h").unwrap();
    assert!(scheduled.uses_run_time && !scheduled.is_by_key());
    assert!(crate::explain::explain(&scheduled).contains("due work starts at every 1h in UTC; each makes it due"));
    let sql = crate::sql::at_run_time(&scheduled.queries(None)[0].sql, Micros::parse("2026-01-10").unwrap());
    assert!(!sql.contains('$') && sql.contains("'2026-01-10T00:00:00'"), "{sql}");
    let windowed = "select user_id, (current_date - interval '1 day')::date as day, count(*) as n from raw.events where at >= {{ window.start }} and at < now() group by 1, 2";
    assert!(one(windowed, DAILY).unwrap_err().message.contains("meaning: per_window"));
    let pieces = one(windowed, &format!("{DAILY}\nmeaning: per_window")).unwrap();
    assert_eq!(dirty_days(&pieces), [10]);
    assert!(!pieces.uses_run_time);
    assert!(
        one("select user_id, at::date as day from raw.events where at < {{ run_time }}", DAILY).unwrap_err().message.contains("window.end")
    );
}

#[test]
fn windows_need_a_place_to_begin() {
    let yaml = format!("name: a.x\nkey: {{partition: [user_id]}}\n{DAILY}\nsql: select user_id, date '2026-01-01' as day from raw.users\n");
    let found = compiled(&[("derived/x.yaml", &yaml)]);
    assert!(found.problems().next().unwrap().message.contains("write start"));
}

#[test]
fn a_document_leads_back_to_its_artifact() {
    let artifact = one(
        "select user_id, at::date as day, count(*) as n from raw.events where at >= {{ window.start }} and at < {{ window.end }} group by 1, 2",
        &format!("{DAILY}\nmeaning: per_window\nstart: 2026-01-01\ncolumns: {{n: {{tests: [not_null, {{accepted_values: [1, 2]}}]}}}}\ntimeout: 5m"),
    )
    .unwrap();
    let document = artifact.to_document().unwrap();
    assert_eq!(Artifact::from_document(&document).unwrap(), artifact);
    let newer = document.replacen("\"format\":2", "\"format\":9", 1);
    assert!(Artifact::from_document(&newer).unwrap_err().message.contains("upgrade"));
}

#[test]
fn a_windowed_table_means_its_sql_over_the_whole_kept_to_the_windows() {
    let (start, end) = (Micros::parse("2026-01-01").unwrap(), Micros::parse("2026-01-03").unwrap());
    let whole = daily("select user_id, at::date as day from raw.events");
    let queries = whole.queries(Some((start, end)));
    assert_eq!(queries.len(), 1);
    assert!(queries[0].sql.contains("\"day\" IS NULL OR") && queries[0].sql.contains("'2026-01-03', 'Date32'"), "{}", queries[0].sql);
    let sql = "select user_id, at::date as day from raw.events where at >= {{ window.start }} and at < {{ window.end }}";
    let pieces = one(sql, &format!("{DAILY}\nmeaning: per_window")).unwrap().queries(Some((start, end)));
    assert_eq!(pieces.len(), 2);
    assert!(pieces[1].sql.contains("at >= arrow_cast('2026-01-02T00:00:00'"), "{}", pieces[1].sql);
    for sql in queries.iter().chain(&pieces).map(|q| q.sql.as_str()) {
        let parsed = crate::compile::Planner::new(&session().unwrap()).read(sql, true).unwrap();
        assert_eq!(parsed.reads.into_iter().collect::<Vec<_>>(), ["raw.events"]);
    }
}

#[test]
fn explain_tells_what_is_read_and_why() {
    let artifact = daily("select e.user_id, e.at::date as day, u.country from raw.events e join raw.users u using (user_id)");
    let text = crate::explain::explain(&artifact);
    for part in [
        "raw.events: day(at) ≥ start and day(at) < end",
        "raw.users: all of it, as a query leads from its changed rows to the windows that they reach",
        "takes its latest version",
        "every day in UTC by day",
        "unique by user_id, day",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_plan_says_what_applying_would_change() {
    use crate::plan::{Change, Wanted, plan};
    use common::catalog::{Catalog, Definition};
    use common::ids::TableId;
    let file =
        |name: &str, n: u32| format!("name: a.{name}\nkey: {{partition: [user_id]}}\nsql: select user_id, {n} as n from raw.events\n");
    let project = compiled(&[("derived/x.yaml", &file("x", 1)), ("derived/y.yaml", &file("y", 1)), ("derived/z.yaml", &file("z", 1))]);
    let before = compiled(&[("derived/x.yaml", &file("x", 1)), ("derived/y.yaml", &file("y", 2)), ("derived/old.yaml", &file("old", 1))]);
    let applied = |a: &Artifact| {
        let definition = Definition {
            name: a.name.clone(),
            table: TableId(1),
            document: a.to_document().unwrap(),
            fingerprint: a.fingerprint.clone(),
            paused: false,
            applied_at: Micros(0),
        };
        (a.name.clone(), std::sync::Arc::new(definition))
    };
    let catalog = Catalog { definitions: before.artifacts().map(applied).collect(), ..Catalog::default() };
    let plan = plan(&project, &catalog, Wanted { prune: true, ..Wanted::default() }).unwrap();
    let changes: BTreeMap<_, _> = plan.entries.iter().map(|e| (e.name.as_str(), e.change)).collect();
    let want = [("a.old", Change::Removed), ("a.x", Change::Unchanged), ("a.y", Change::Changed), ("a.z", Change::Added)];
    assert_eq!(changes, BTreeMap::from(want));
    assert_eq!(plan.put.iter().map(|p| (p.environment.as_str(), p.artifact.name.as_str())).collect::<Vec<_>>(), [("", "a.y"), ("", "a.z")]);
    assert_eq!(plan.remove, ["a.old"]);
    assert_eq!(plan.create.iter().map(|s: &TableSpec| s.name.as_str()).collect::<Vec<_>>(), ["raw.events", "raw.users"]);
    assert!(plan.check().is_ok() && !plan.is_empty());
}

#[test]
fn a_long_wait_for_an_input_is_warned_of() {
    let monthly = "name: a.m\nkey: {partition: [month]}\nwindow: {every: month}\ntime_column: month\nsql: select date_trunc('month', at)::date as month, count(*) as n from raw.events group by 1\n";
    let daily = "name: a.d\nkey: {partition: [day]}\nwindow: {every: day}\ntime_column: day\nsql: select e.at::date as day, max(m.n) as n from raw.events e left join a.m m on m.month = date_trunc('month', e.at)::date group by 1\n";
    let found = compiled(&[("derived/m.yaml", monthly), ("derived/d.yaml", daily)]);
    assert!(is_keys(found.artifacts().find(|a| a.name == "a.d").unwrap(), "a.m"), "a changed month leads to its days");
    let ahead = format!("{DAILY}\ninputs: {{raw.events: {{ahead: 28d}}}}");
    let artifact = one("select user_id, max(at)::date as day from raw.events group by 1", &ahead).unwrap();
    assert_eq!(artifact.warnings, ["raw.events: a window waits up to 28 days for it; choose need: latest if that is too long"]);
}

#[test]
fn the_examples_compile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for (name, least) in [("game", 8), ("chat", 9), ("github", 9), ("flights", 7), ("jaffle", 3), ("retail", 6), ("wikipedia", 6)] {
        let compiled = Project::from_folder(&root.join(name)).unwrap().compile(&session, &[]);
        let problems: Vec<_> = compiled.problems().map(ToString::to_string).collect();
        assert!(problems.is_empty(), "{name}: {problems:#?}");
        assert!(compiled.artifacts().count() >= least);
        let again = Project::from_folder(&root.join(name)).unwrap().compile(&session, &[]);
        assert_eq!(compiled, again, "compiling is deterministic, fingerprints and all");
        for artifact in compiled.artifacts().filter(|a| a.window.is_some()) {
            let bounded = artifact.inputs.iter().all(|i| i.reach.is_bounded());
            assert!(bounded, "{}", crate::explain::explain(artifact));
        }
    }
}
