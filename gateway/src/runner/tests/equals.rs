//! After any late rows, corrections and deletes, every table equals its SQL over the whole.

use super::world::{Event, World};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

const DAYS: &str = r#"
name: test.days
strategy: replace
window: {every: day}
time_column: day
key: {partition: [user], cluster: [day], unique: [user, day]}
sql: select "user", at::date as day, count(*) as events, sum(n) as total from raw.events group by 1, 2
"#;
const DAYS_SQL: &str = r#"select "user", at::date as day, count(*) as events, sum(n) as total from raw.events group by 1, 2"#;

/// Without a unique key: equal rows stay apart.
const BIG: &str = r#"
name: test.big
strategy: append
window: {every: hour}
time_column: at
key: {partition: [user]}
sql: select "user", at, n from raw.events where n >= 5
"#;
const BIG_SQL: &str = r#"select "user", at, n from raw.events where n >= 5"#;

const USERS: &str = r#"
name: test.users
strategy:
  merge:
    key: [user]
    order_by: day
    columns: {first_day: min, last_day: max, latest_total: latest, events: sum, days: count}
window: {every: day}
time_column: day
key: {partition: [user], unique: [user]}
sql: select "user", day, day as first_day, day as last_day, total as latest_total, events, 1 as days from test.days
"#;
const USERS_SQL: &str = r#"
select "user", first_day, last_day, latest_total, events, days from (
  select "user", min(day) over w as first_day, max(day) over w as last_day, total as latest_total,
         sum(events) over w as events, count(*) over w as days,
         row_number() over (partition by "user" order by day desc) as newest
  from test.days window w as (partition by "user")
) where newest = 1"#;

const TOTALS: &str = r#"
name: test.totals
strategy: replace
key: {partition: [days], unique: [days]}
sql: select days, count(*) as users, sum(events) as events from test.users group by 1
"#;
const TOTALS_SQL: &str = "select days, count(*) as users, sum(events) as events from test.users group by 1";

async fn check(world: &World, step: usize) {
    let t0 = std::time::Instant::now();
    world.fresh().await;
    eprintln!("TIMING step {step}: {:?}", t0.elapsed());
    for t in &world.settled().await.tables {
        eprintln!("   {} {:?}", t.table, t.last_run.as_ref().map(|r| (r.duration_ms, r.reason.clone(), r.rows_changed)));
    }
    for (table, columns, sql) in [
        ("test.days", r#""user", day, events, total"#, DAYS_SQL),
        ("test.big", r#""user", at, n"#, BIG_SQL),
        ("test.users", r#""user", first_day, last_day, latest_total, events, days"#, USERS_SQL),
        ("test.totals", "days, users, events", TOTALS_SQL),
    ] {
        let kept = world.rows(&format!("select {columns} from {table}")).await;
        assert_eq!(kept, world.rows(sql).await, "{table} after step {step}");
    }
}

fn event(random: &mut StdRng) -> Event {
    (format!("u{}", random.random_range(0..6)), random.random_range(0..24 * 12), random.random_range(0..40), random.random_range(0..10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_equal_their_sql_after_any_late_rows_corrections_and_deletes() {
    let world = World::new().await;
    let mut random = StdRng::seed_from_u64(7);
    let first: Vec<_> = (0..300).map(|_| event(&mut random)).collect();
    world.put(&first).await;
    world.apply(&[("days.yaml", DAYS), ("big.yaml", BIG), ("users.yaml", USERS), ("totals.yaml", TOTALS)]).await;
    check(&world, 0).await;
    let mut known: BTreeMap<_, _> = first.into_iter().map(|e| ((e.0.clone(), e.1, e.2), e)).collect();
    for step in 1..8 {
        let late: Vec<_> = (0..random.random_range(1..6)).map(|_| event(&mut random)).collect();
        let pick = |random: &mut StdRng| known.values().nth(random.random_range(0..known.len())).cloned().unwrap();
        let corrected: Vec<_> = (0..3).map(|_| pick(&mut random)).map(|e| (e.0, e.1, e.2, e.3 + 1)).collect();
        let deleted: Vec<_> = (0..3).map(|_| pick(&mut random)).collect();
        // Alone and together, and sometimes one more write while a run is under way.
        if step % 3 != 0 {
            world.put(&late).await;
            known.extend(late.into_iter().map(|e| ((e.0.clone(), e.1, e.2), e)));
        }
        if step % 2 == 0 {
            world.put(&corrected).await;
            known.extend(corrected.into_iter().map(|e| ((e.0.clone(), e.1, e.2), e)));
        }
        if step % 4 != 1 {
            world.delete(&deleted).await;
            deleted.iter().for_each(|e| drop(known.remove(&(e.0.clone(), e.1, e.2))));
        }
        check(&world, step).await;
    }
    // A row before all others moves the beginning.
    world.put(&[("u0".into(), -50, 0, 9)]).await;
    check(&world, 100).await;
    let all: Vec<_> = known.into_values().chain([("u0".into(), -50, 0, 9)]).collect();
    world.delete(&all).await;
    check(&world, 101).await;
    assert!(world.rows("select * from test.users").await.is_empty());
}

/// The union of its pieces, which are days in Berlin: they begin at 23:00 UTC in winter.
const FIRSTS: &str = r#"
name: test.firsts
strategy: replace
meaning: per_window
window: {every: day, zone: Europe/Berlin}
time_column: at
start: 2025-12-30
key: {partition: [user], cluster: [at], unique: [user, at]}
sql: |
  select "user", min(at) as at, count(*) as events from raw.events
  where at >= {{ window.start }} and at < {{ window.end }}
  group by 1
"#;
const FIRSTS_SQL: &str =
    r#"select "user", min(at) as at, count(*) as events from raw.events group by 1, date_trunc('day', at + interval '1 hour')"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_pieces_equals_the_union_of_its_pieces() {
    let world = World::new().await;
    let mut random = StdRng::seed_from_u64(9);
    let events: Vec<_> = (0..60).map(|_| event(&mut random)).map(|(user, hour, id, n)| (user, hour % 120, id, n)).collect();
    world.put(&events).await;
    world.apply(&[("firsts.yaml", FIRSTS)]).await;
    for late in [("u1", 23, 1), ("u1", 22, 2), ("u2", 71, 3)] {
        world.fresh().await;
        assert_eq!(world.rows(r#"select "user", at, events from test.firsts"#).await, world.rows(FIRSTS_SQL).await);
        world.put(&[(late.0.into(), late.1, 1_000 + late.2, 0)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_come_again_cause_no_run() {
    let world = World::new().await;
    let mut random = StdRng::seed_from_u64(8);
    let events: Vec<_> = (0..100).map(|_| event(&mut random)).collect();
    world.put(&events).await;
    world.apply(&[("days.yaml", DAYS), ("users.yaml", USERS)]).await;
    world.fresh().await;
    let run = world.settled().await.tables[0].last_run.as_ref().unwrap().run;
    world.put(&events).await;
    assert_eq!(world.settled().await.tables[0].last_run.as_ref().unwrap().run, run);
    // A change of what a table does not show runs that table, and nothing after it.
    let versions = (world.version("test.days"), world.version("test.users"));
    let (user, hour) = (events[0].0.clone(), events[0].1);
    world.put(&[(user.clone(), hour, 1_000, 0)]).await;
    world.fresh().await;
    assert_ne!(world.version("test.days"), versions.0);
    world.delete(&[(user, hour, 1_000, 0)]).await;
    world.fresh().await;
}
