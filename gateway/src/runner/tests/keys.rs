//! Tables without windows are computed by key, and windows that a lookup reaches by a query: always what a rebuild gives.

use super::super::status::RunStatus;
use super::world::{Event, World};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// Tables by name: row key, unique key, SQL, whether a change of few rows may be computed by key.
const TABLES: [(&str, &str, &str, &str); 9] = [
    (
        "by_user",
        "[user]",
        "[user]",
        r#"select "user", count(*) as events, sum(n) as total, max(at) as latest from raw.events group by "user""#,
    ),
    (
        "by_country",
        "[country]",
        "[country]",
        r#"select u.country, count(*) as events, sum(e.n) as total from raw.events e join raw.users u on u."user" = e."user" group by u.country"#,
    ),
    (
        "profiles",
        "[country, user]",
        "[user]",
        r#"select u."user", u.country, coalesce(e.events, 0) as events from raw.users u left join (select "user", count(*) as events from raw.events where n > 2 group by "user") e on e."user" = u."user""#,
    ),
    (
        "silent",
        "[user]",
        "[user]",
        r#"select u."user", u.country from raw.users u where not exists (select 1 from raw.events e where e."user" = u."user" and e.n > 5)"#,
    ),
    ("values", "[n, user]", "[n, user]", r#"select distinct n, "user" from raw.events where n >= 3"#),
    ("known", "[user]", "[user]", r#"select "user" from raw.events where n > 6 union select "user" from raw.users"#),
    (
        "busy",
        "[user, day]",
        "[user, day]",
        r#"select "user", at::date as day, count(*) as events from raw.events group by "user", at::date having count(*) > 1"#,
    ),
    (
        "newest",
        "[user]",
        "[user]",
        r#"select "user", at, n from (select "user", at, n, row_number() over (partition by "user" order by at desc, id) as r from raw.events) q where r = 1"#,
    ),
    (
        "level",
        "[country]",
        "[country]",
        r#"select p.country, sum(b.total) as total, count(b."user") as users from test.profiles p left join test.by_user b on b."user" = p."user" group by p.country"#,
    ),
];

/// A merge without windows: the last value of a user.
const LAST: &str = r#"
name: test.last
strategy:
  merge: {key: [user], order_by: place, columns: {n: latest, worst: min, rows: count}}
sql: select "user", cast(id as text) || cast(at as text) as place, n, n as worst, n as rows from raw.events
"#;
const LAST_SQL: &str = r#"select "user", n, worst, rows from (
  select "user", n, min(n) over (partition by "user") as worst, count(n) over (partition by "user") as rows,
         row_number() over (partition by "user" order by cast(id as text) || cast(at as text) desc) as r from raw.events
) q where r = 1"#;

fn yaml((name, key, unique, sql, ..): &(&str, &str, &str, &str)) -> (String, String) {
    (format!("{name}.yaml"), format!("name: test.{name}\nkey: {{partition: {key}, unique: {unique}}}\nsql: >-\n  {sql}\n"))
}

async fn columns(world: &World, sql: &str) -> String {
    let names = world.sql.context(Default::default()).unwrap().sql(sql).await.unwrap();
    let quoted: Vec<_> = names.schema().fields().iter().map(|f| format!("\"{}\"", f.name())).collect();
    quoted.join(", ")
}

async fn check(world: &World, what: &str) {
    world.fresh().await;
    let last = ("last", "", "", LAST_SQL);
    for (name, _, _, sql) in TABLES.iter().chain([&last]) {
        let kept = world.rows(&format!("select {} from test.{name}", columns(world, sql).await)).await;
        assert_eq!(kept, world.rows(sql).await, "test.{name} {what}");
    }
}

async fn last_run(world: &World, table: &str) -> RunStatus {
    let status = world.settled().await;
    status.tables.iter().find(|t| t.table == table).unwrap().last_run.clone().unwrap()
}

fn event(random: &mut StdRng) -> Event {
    (format!("u{}", random.random_range(0..8)), random.random_range(0..24 * 6), random.random_range(0..30), random.random_range(0..10))
}

/// The seed of `STELE_SEED`, or this one.
fn random(seed: u64) -> (StdRng, u64) {
    let seed = std::env::var("STELE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(seed);
    (StdRng::seed_from_u64(seed), seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_by_key_equal_a_rebuild_after_any_inserts_corrections_and_deletes() {
    let (mut random, seed) = random(11);
    let world = World::new().await;
    let mut events: BTreeMap<_, Event> = (0..60).map(|_| event(&mut random)).map(|e| ((e.0.clone(), e.1, e.2), e)).collect();
    world.put(&events.values().cloned().collect::<Vec<_>>()).await;
    world.put_users(&(0..6).map(|u| (format!("u{u}"), Some(format!("c{}", u % 3)))).collect::<Vec<_>>()).await;
    let files: Vec<_> = TABLES.iter().map(yaml).chain([("last.yaml".to_owned(), LAST.to_owned())]).collect();
    world.apply(&files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect::<Vec<_>>()).await;
    check(&world, &format!("at first (STELE_SEED={seed})")).await;
    for step in 0..6 {
        let pick =
            |random: &mut StdRng, events: &BTreeMap<_, Event>| events.values().nth(random.random_range(0..events.len())).cloned().unwrap();
        let new: Vec<_> = (0..random.random_range(0..4)).map(|_| event(&mut random)).collect();
        let corrected: Vec<_> =
            (0..random.random_range(0..3)).map(|_| pick(&mut random, &events)).map(|e| (e.0, e.1, e.2, e.3 + 1)).collect();
        let deleted: Vec<_> = (0..random.random_range(0..4)).map(|_| pick(&mut random, &events)).collect();
        for list in [&new, &corrected] {
            world.put(list).await;
            events.extend(list.iter().cloned().map(|e| ((e.0.clone(), e.1, e.2), e)));
        }
        world.delete(&deleted).await;
        deleted.iter().for_each(|e| drop(events.remove(&(e.0.clone(), e.1, e.2))));
        if step % 2 == 0 {
            let country = (random.random_range(0..4) > 0).then(|| format!("c{}", random.random_range(0..4)));
            world.put_users(&[(format!("u{}", random.random_range(0..8)), country)]).await;
        }
        check(&world, &format!("after step {step} (STELE_SEED={seed})")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_changed_row_is_one_dirty_key_downstream() {
    let world = World::new().await;
    let events: Vec<_> = (0..50).map(|i| (format!("u{i}"), i, i, 3)).collect();
    world.put(&events).await;
    let files: Vec<_> = TABLES.iter().filter(|t| t.0 == "by_user").map(yaml).collect();
    world.apply(&files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect::<Vec<_>>()).await;
    world.fresh().await;
    assert_eq!(last_run(&world, "test.by_user").await.path, "whole: first build");
    world.put(&[("u7".into(), 7, 7, 4)]).await;
    world.fresh().await;
    let run = last_run(&world, "test.by_user").await;
    assert_eq!((run.path.as_str(), run.rows_out, run.rows_changed), ("by key: 1", 1, 1));
    world.delete(&[("u7".into(), 7, 7, 4)]).await;
    world.fresh().await;
    let run = last_run(&world, "test.by_user").await;
    assert_eq!((run.path.as_str(), run.rows_out, run.rows_changed), ("by key: 1", 0, 1), "a vanished key is deleted");
    let one = world.rows(r#"select count(*), count(distinct "user") from test.by_user"#).await;
    assert_eq!(one, ["49 | 49"]);
    world.apply(&[("by_user.yaml", &files[0].1.replace("sum(n)", "sum(n) + 1"))]).await;
    world.fresh().await;
    assert_eq!(last_run(&world, "test.by_user").await.path, "whole: changed definition");
}

/// Days by country: a lookup without time.
const COUNTRIES: &str = r#"
name: test.countries
window: {every: day}
time_column: day
key: {partition: [country], cluster: [day], unique: [country, day]}
sql: >-
  select u.country, e.at::date as day, count(*) as events from raw.events e join raw.users u on u."user" = e."user" group by 1, 2
"#;
const COUNTRIES_SQL: &str =
    r#"select u.country, e.at::date as day, count(*) as events from raw.events e join raw.users u on u."user" = e."user" group by 1, 2"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_lookup_makes_only_the_windows_due_that_hold_its_keys() {
    let world = World::new().await;
    let events: Vec<_> = (0..6).map(|day| (format!("u{}", day % 3), day * 24 + 3, day, 1)).collect();
    world.put(&events).await;
    world.put_users(&(0..3).map(|u| (format!("u{u}"), Some("de".to_owned()))).collect::<Vec<_>>()).await;
    world.apply(&[("countries.yaml", COUNTRIES)]).await;
    world.fresh().await;
    for (user, country, days) in [("u1", Some("fr"), [2, 5]), ("u0", None, [1, 4]), ("u1", Some("it"), [2, 5])] {
        world.put_users(&[(user.into(), country.map(str::to_owned))]).await;
        world.fresh().await;
        let run = last_run(&world, "test.countries").await;
        let windows = days.map(|d| format!(r#"["2026-01-0{d}T00:00:00Z","2026-01-0{}T00:00:00Z"]"#, d + 1));
        assert_eq!(run.windows.to_string(), format!("[{}]", windows.join(",")), "{user} {country:?}");
        let kept = world.rows("select country, day, events from test.countries").await;
        assert_eq!(kept, world.rows(COUNTRIES_SQL).await);
    }
}
