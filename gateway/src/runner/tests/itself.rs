//! Tables that read their own earlier windows, and tables that run by the clock.

use super::world::World;
use common::time::Micros;

/// Each day's total so far, from the day before.
const RUNNING: &str = r#"
name: test.running
start: 2026-01-01
window: {every: day}
time_column: day
columns: {user: {type: string}, day: {type: date}, total: {type: int64}}
key: {partition: [user], cluster: [day], unique: [user, day]}
sql: |
  with days as (select u."user", d.day from raw.users u cross join (select distinct at::date as day from raw.events) d),
       fresh as (select "user", at::date as day, sum(n) as n from raw.events group by 1, 2)
  select d."user", d.day, coalesce(f.n, 0) + coalesce(b.total, 0) as total
  from days d left join fresh f on f."user" = d."user" and f.day = d.day
              left join test.running b on b."user" = d."user" and b.day = d.day - interval '1 day'
"#;
const RUNNING_SQL: &str = r#"
select u."user", d.day, sum(coalesce(f.n, 0)) over (partition by u."user" order by d.day) as total
from raw.users u cross join (select distinct at::date as day from raw.events) d
  left join (select "user", at::date as day, sum(n) as n from raw.events group by 1, 2) f on f."user" = u."user" and f.day = d.day"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_reads_itself_runs_in_order_and_follows_a_late_row_as_far_as_it_changes_anything() {
    let world = World::new().await;
    let events: Vec<_> = (0..8).map(|day| (format!("u{}", day % 2), day * 24 + 1, day, day + 1)).collect();
    world.put(&events).await;
    world.put_users(&[("u0".into(), Some("de".into())), ("u1".into(), Some("fr".into()))]).await;
    world.complete_until(24 * 8).await;
    world.apply(&[("running.yaml", RUNNING)]).await;
    let check = async |what: &str| {
        world.fresh().await;
        let kept = world.rows(r#"select "user", day, total from test.running"#).await;
        assert_eq!(kept, world.rows(RUNNING_SQL).await, "{what}");
    };
    check("at first").await;
    let runs = world.runs().await.len();
    assert_eq!(runs, 8, "one run a window");
    // A late row changes its day and all later ones.
    world.put(&[("u0".into(), 24 * 3 + 5, 99, 7)]).await;
    check("after a late row").await;
    assert_eq!(world.runs().await.len(), runs + 5);
    // Two rows that make up for each other change one day alone: the next reads the same as before.
    world.put(&[("u1".into(), 24 * 5 + 6, 100, 0)]).await;
    check("after a row that changes nothing").await;
    let all = world.runs().await;
    assert_eq!((all.len(), all.last().unwrap().status.as_str()), (runs + 6, "unchanged"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn now_means_the_scheduled_time() {
    let world = World::new().await;
    world.put(&[("u0".into(), 1, 1, 1)]).await;
    let yaml = "name: test.age\nschedule: every 1h\nkey: {partition: [user], unique: [user]}\nsql: select \"user\", now() as at, current_date as day, count(*) as n from raw.events group by \"user\"\n";
    let before = world.cluster.clock().now();
    world.apply(&[("age.yaml", yaml)]).await;
    world.fresh().await;
    let hour = 3_600_000_000;
    let scheduled = [before, world.cluster.clock().now()].map(|t| Micros(t.0 - t.0.rem_euclid(hour)).to_rfc3339());
    let at = world.rows("select cast(at as text) from test.age").await.remove(0);
    assert!(scheduled.iter().any(|t| t.trim_end_matches('Z') == at), "{at}: {scheduled:?}");
    // A change waits for the next scheduled time, so nothing happens by itself now.
    world.put(&[("u0".into(), 2, 2, 1)]).await;
    let status = world.settled().await;
    assert!(status.fresh || status.tables[0].waits[0].why.contains("its schedule starts it at"), "{status:#?}");
}
