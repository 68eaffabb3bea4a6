use super::harness::{Client, World, changes, scan, set, table, target};
use common::ErrorKind;
use common::ids::{RunId, Seq};
use common::row::RowMutation;
use common::rpc::tablet::{ApplyRequest, DropStagedRequest, ReadAt, RunVersion, StageRequest};
use common::schema::{Table, TableKind};

async fn stage(client: &mut Client, table: &Table, run: u64, rows: Vec<RowMutation>) {
    let rows = rows.into_iter().map(Into::into).collect();
    client.stage(StageRequest { target: target(table), run, part: 0, rows }).await.unwrap();
}

fn at(version: u64, runs: &[(u64, u64)]) -> ReadAt {
    let runs = runs.iter().map(|&(run, version)| RunVersion::new(RunId(run), Seq(version))).collect();
    ReadAt { seq: version, runs }
}

#[tokio::test]
async fn a_read_applies_the_runs_that_lead_to_its_version() {
    let world = World::new().await;
    let t = table(7, "d.t", TableKind::Derived);
    let (server, mut c) = world.serve(&[&t], 1).await;
    stage(&mut c, &t, 11, vec![set(&t, "a", 1), set(&t, "b", 1)]).await;
    stage(&mut c, &t, 12, vec![set(&t, "b", 2)]).await;
    assert_eq!(scan(&mut c, &t, &["k"], ReadAt::newest()).await.unwrap(), Vec::<String>::new(), "staged rows are invisible");

    assert_eq!(scan(&mut c, &t, &["k", "n"], at(1, &[(11, 1), (12, 2)])).await.unwrap(), ["a 1", "b 1"]);
    world.until(|r| r.tablets.iter().any(|t| t.visible_seq == Seq(1))).await;
    assert_eq!(scan(&mut c, &t, &["k", "n"], at(2, &[(11, 1), (12, 2)])).await.unwrap(), ["a 1", "b 2"]);
    assert_eq!(scan(&mut c, &t, &["k", "n"], at(1, &[])).await.unwrap(), ["a 1", "b 1"], "an older version stays readable");
    assert_eq!(changes(&mut c, &t, &["k", "n"], Seq(1), at(2, &[])).await.unwrap(), ["b 1 0", "b 2 1"]);
    assert_eq!(scan(&mut c, &t, &["k"], at(3, &[])).await.unwrap_err().kind, ErrorKind::Unavailable, "nobody said how to get to 3");
    // A run without rows here only advances the version.
    assert_eq!(scan(&mut c, &t, &["k", "n"], at(3, &[(13, 3)])).await.unwrap(), ["a 1", "b 2"]);
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn runs_are_applied_and_dropped_by_request_and_by_order() {
    let world = World::new().await;
    let t = table(7, "d.t", TableKind::Derived);
    let (server, mut c) = world.serve(&[&t], 1).await;
    for run in 11..=13 {
        stage(&mut c, &t, run, vec![set(&t, &run.to_string(), 1)]).await;
    }
    let runs = vec![RunVersion::new(RunId(11), Seq(1))];
    c.apply(ApplyRequest { target: target(&t), runs }).await.unwrap();
    assert_eq!(scan(&mut c, &t, &["k"], ReadAt::newest()).await.unwrap(), ["11"]);
    world.order(|said| said.desired[0].runs = vec![(RunId(12), Seq(2))]);
    world.until(|r| r.tablets.iter().any(|t| t.visible_seq == Seq(2))).await;
    assert_eq!(scan(&mut c, &t, &["k"], ReadAt::newest()).await.unwrap(), ["11", "12"]);
    c.drop_staged(DropStagedRequest { target: target(&t), run: 13 }).await.unwrap();
    assert_eq!(scan(&mut c, &t, &["k"], at(3, &[(13, 3)])).await.unwrap(), ["11", "12"], "what was dropped does not come back");
    let taken = world.order(|said| said.desired[0].aborted = vec![RunId(14)]);
    world.until_taken(taken).await;
    server.shutdown().await.unwrap();
}
