use super::harness::{World, delete_row, set, values, write};
use crate::Tablet;
use common::ErrorKind;
use common::ids::{RunId, Seq};
use common::schema::TableKind;

async fn stage(tablet: &Tablet, run: u64, part: u32, key: &str, value: &str) {
    tablet.stage(RunId(run), part, vec![delete_row(key), set(key, value)]).await.unwrap();
}

async fn apply(tablet: &Tablet, runs: &[(u64, u64)]) -> common::Result<()> {
    let runs: Vec<_> = runs.iter().map(|(run, version)| (RunId(*run), Seq(*version))).collect();
    tablet.apply(&runs).await
}

#[tokio::test]
async fn a_run_is_seen_whole_at_its_version_or_not_at_all() {
    let mut world = World::of(TableKind::Derived);
    let (_, t) = world.start().await;
    stage(&t, 1, 0, "a", "1").await;
    stage(&t, 1, 1, "b", "1").await;
    stage(&t, 2, 0, "a", "2").await;
    assert!(values(&t, Seq::MAX).await.is_empty());
    apply(&t, &[(1, 5), (2, 9), (3, 10)]).await.unwrap();
    assert_eq!(t.visible(), Seq(10));
    assert_eq!(values(&t, Seq(4)).await, [""; 0]);
    assert_eq!(values(&t, Seq(5)).await, ["a=1", "b=1"]);
    assert_eq!(values(&t, Seq(9)).await, ["a=2", "b=1"]);
    apply(&t, &[(1, 5), (2, 9), (3, 10)]).await.unwrap();
    assert_eq!(t.write(vec![set("x", "1")], None).await.unwrap_err().kind, ErrorKind::FailedPrecondition);
}

#[tokio::test]
async fn runs_are_applied_in_version_order_or_refused() {
    let mut world = World::of(TableKind::Derived);
    let (_, t) = world.start().await;
    stage(&t, 1, 0, "a", "1").await;
    stage(&t, 2, 0, "a", "2").await;
    assert_eq!(apply(&t, &[(2, 6), (1, 5)]).await.unwrap_err().kind, ErrorKind::FailedPrecondition);
    assert_eq!(t.visible(), Seq::ZERO);
    apply(&t, &[(2, 6)]).await.unwrap();
    assert_eq!(apply(&t, &[(1, 5)]).await.unwrap_err().kind, ErrorKind::FailedPrecondition);
    t.drop_staged(RunId(1)).await.unwrap();
    apply(&t, &[(1, 5)]).await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await, ["a=2"]);
}

#[tokio::test]
async fn a_part_staged_twice_counts_once_also_after_its_run_is_applied() {
    let mut world = World::of(TableKind::Derived);
    let (_, t) = world.start().await;
    stage(&t, 1, 0, "a", "1").await;
    stage(&t, 1, 0, "a", "1").await;
    apply(&t, &[(1, 3)]).await.unwrap();
    stage(&t, 1, 0, "a", "1").await;
    let (_, t) = world.start().await;
    stage(&t, 1, 0, "a", "1").await;
    apply(&t, &[(1, 3)]).await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await, ["a=1"]);
}

#[tokio::test]
async fn recovery_restores_staged_and_applied_state_exactly() {
    let mut world = World::of(TableKind::Derived);
    let (_, t) = world.start().await;
    stage(&t, 1, 0, "a", "1").await;
    stage(&t, 2, 0, "b", "2").await;
    stage(&t, 3, 0, "c", "3").await;
    stage(&t, 4, 0, "d", "4").await;
    apply(&t, &[(1, 5)]).await.unwrap();
    t.flush().await.unwrap();
    apply(&t, &[(2, 7)]).await.unwrap();
    t.drop_staged(RunId(4)).await.unwrap();
    for _ in 0..3 {
        let (_, t) = world.start().await;
        assert_eq!(t.visible(), Seq(7));
        assert_eq!(values(&t, Seq::MAX).await, ["a=1", "b=2"]);
        assert_eq!(values(&t, Seq(5)).await, ["a=1"]);
    }
    let (_, t) = world.start().await;
    apply(&t, &[(3, 8), (4, 9)]).await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await, ["a=1", "b=2", "c=3"]);
    let (_, t) = world.start().await;
    assert_eq!((t.visible(), values(&t, Seq::MAX).await.len()), (Seq(9), 3));
}

#[tokio::test]
async fn the_log_is_not_trimmed_past_staged_rows() {
    let mut world = World::of(TableKind::Derived);
    world.tune = |config| config.log_segment_bytes = 1;
    let (engine, t) = world.start().await;
    stage(&t, 1, 0, "a", "1").await;
    for run in 2..6 {
        stage(&t, run, 0, "b", "2").await;
        apply(&t, &[(run, run)]).await.unwrap();
    }
    t.flush().await.unwrap();
    world.clock.advance(std::time::Duration::from_secs(100));
    engine.trim_for_tests(t.inner_for_tests().log_from()).await;
    engine.close_tablet(t.id()).await.unwrap();
    let (_, t) = world.start().await;
    apply(&t, &[(1, 9)]).await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await, ["a=1", "b=2"]);
}

#[tokio::test]
async fn a_run_with_nothing_staged_only_advances_the_version() {
    let mut world = World::of(TableKind::Derived);
    let (_, t) = world.start().await;
    apply(&t, &[(1, 4)]).await.unwrap();
    t.flush().await.unwrap();
    apply(&t, &[(2, 6)]).await.unwrap();
    let (_, t) = world.start().await;
    assert_eq!(t.visible(), Seq(6));
    assert!(t.read(common::row::ReadSpec::default(), Seq(7)).is_err());
}

#[tokio::test]
async fn raw_tables_take_no_staged_rows() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    write(&t, set("a", "1")).await;
    let refused = t.stage(RunId(1), 0, vec![set("a", "1")]).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::FailedPrecondition);
}

#[tokio::test]
async fn closing_waits_for_what_is_in_flight_also_if_it_only_stages() {
    let mut world = World::of(TableKind::Derived);
    let (engine, t) = world.start().await;
    for part in 0..20 {
        let staging = t.clone();
        let staged = tokio::spawn(async move { staging.stage(RunId(1), part, vec![set("a", "1")]).await });
        tokio::task::yield_now().await;
        if part == 19 {
            engine.close_tablet(t.id()).await.unwrap();
        }
        let _ = staged.await.unwrap();
    }
}
