//! Failures stay where they are; definitions change; runners stop, start and meet.

use super::super::Runner;
use super::world::{COUNTS, World, days};
use common::ErrorKind;

/// Fails for the days on which somebody has n = 13.
const PICKY: &str = r#"
name: test.picky
strategy: replace
window: {every: day}
time_column: day
retries: 0
key: {partition: [day], unique: [day]}
columns:
  worst: {tests: [{accepted_values: [0, 1, 2, 3]}]}
sql: select at::date as day, max(n) as worst from raw.events group by 1
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_window_holds_neither_other_windows_nor_other_tables() {
    let world = World::new().await;
    world.put(&days(8)).await;
    world.put(&[("u0".into(), 5 * 24, 99, 13)]).await;
    world.apply(&[("counts.yaml", COUNTS), ("picky.yaml", PICKY)]).await;
    let status = world.settled().await;
    let table = |name: &str| status.tables.iter().find(|t| t.table == name).unwrap();
    assert_eq!((table("test.counts").state, table("test.picky").state), ("fresh", "failed"), "{status:#?}");
    let failures = &table("test.picky").failures;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].windows.to_string(), r#"[["2026-01-06T00:00:00Z","2026-01-07T00:00:00Z"]]"#);
    assert!(failures[0].error.contains("does not hold for 1 rows"), "{}", failures[0].error);
    assert_eq!(world.rows("select count(*) from test.picky").await, ["7"]);
    // Its input is corrected: the window runs by itself.
    world.delete(&[("u0".into(), 5 * 24, 99, 13)]).await;
    world.fresh().await;
    assert_eq!(world.rows("select count(*) from test.picky").await, ["8"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_definition_computes_its_windows_anew() {
    let world = World::new().await;
    world.put(&days(4)).await;
    world.apply(&[("counts.yaml", COUNTS)]).await;
    world.fresh().await;
    world.apply(&[("counts.yaml", &COUNTS.replace("count(*)", "count(*) * 10"))]).await;
    world.fresh().await;
    assert_eq!(world.rows("select distinct events from test.counts").await, ["10"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runners_stop_start_and_meet() {
    let mut world = World::new().await;
    world.put(&days(20)).await;
    world.apply(&[("counts.yaml", COUNTS)]).await;
    // Stopped at some point of its first run.
    if let Some(runner) = world.runner.take() {
        runner.stop().await;
    }
    world.put(&[("u9".into(), 3 * 24, 77, 1)]).await;
    world.runner = Some(Runner::start(world.cluster.clone(), world.sql.clone(), "second".into()));
    world.fresh().await;
    assert_eq!(world.rows("select events from test.counts where day = '2026-01-04'").await, ["2"]);
    let other = Runner::start(world.cluster.clone(), world.sql.clone(), "third".into());
    for id in 0..5 {
        world.put(&[("u8".into(), 7 * 24, id, 1)]).await;
    }
    let (a, b) = tokio::join!(world.settled(), other.settled(super::world::DEADLINE));
    assert!(a.fresh && b.settled);
    assert_eq!(world.rows("select events from test.counts where day = '2026-01-08'").await, ["6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_runs_write_derived_tables_and_every_run_is_logged() {
    let world = World::new().await;
    world.put(&days(2)).await;
    world.apply(&[("counts.yaml", COUNTS)]).await;
    world.fresh().await;
    let table = world.cluster.table("test.counts").unwrap();
    let row = common::row::RowMutation { key: vec![1, 2].into(), mutations: vec![common::row::Mutation::DeleteRow] };
    let refused = world.cluster.write(&table, vec![row]).await;
    let kind = refused.map(|mut r| r.remove(0).unwrap_err().kind).unwrap_or_else(|e| e.kind);
    assert_eq!(kind, ErrorKind::FailedPrecondition);
    // Records move from the catalog into the table by themselves.
    let logged = "select status, reason, rows_out from system.runs where table_name = 'test.counts'";
    let wait = tokio::time::timeout(super::world::DEADLINE, async {
        loop {
            let version = world.cluster.catalog().version;
            if !world.rows(logged).await.is_empty() {
                return;
            }
            world.cluster.catalog_after(version).await;
        }
    });
    wait.await.unwrap();
    assert_eq!(world.rows(logged).await, ["published | first build | 2"]);
}
