use super::harness::{World, bytes, delete_row, family, set, set_at, values, write};
use common::ErrorKind;
use common::ids::Seq;
use common::row::{Mutation, RowMutation};
use std::time::Duration;

#[tokio::test]
async fn what_is_acknowledged_is_visible_and_survives_a_restart() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    write(&tablet, set("a", "1")).await;
    write(&tablet, set("b", "2")).await;
    write(&tablet, delete_row("a")).await;
    write(&tablet, set("c", "3")).await;
    assert_eq!(values(&tablet, Seq::MAX).await, ["b=2", "c=3"]);
    assert_eq!(values(&tablet, Seq(2)).await, ["a=1", "b=2"]);
    for _ in 0..2 {
        let (_, tablet) = world.start().await;
        assert_eq!(tablet.visible(), Seq(4));
        assert_eq!(values(&tablet, Seq::MAX).await, ["b=2", "c=3"]);
        assert_eq!(values(&tablet, Seq(2)).await, ["a=1", "b=2"]);
    }
}

#[tokio::test]
async fn a_wrong_row_is_refused_alone() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    let mut wrong = set("b", "2");
    wrong.mutations.push(Mutation::DeleteFamily { family: common::ids::FamilyId(99) });
    let results = tablet.write(vec![set("a", "1"), wrong, set("c", "3")], None).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap().seq, Seq(1));
    assert_eq!(results[1].as_ref().unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(results[2].as_ref().unwrap().seq, Seq(2));
    assert_eq!(values(&tablet, Seq::MAX).await, ["a=1", "c=3"]);
}

#[tokio::test]
async fn duplicate_rows_of_a_batch_keep_request_order() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    tablet.write(vec![set("a", "1"), set("a", "2"), delete_row("b"), set("b", "3")], None).await.unwrap();
    assert_eq!(values(&tablet, Seq::MAX).await, ["a=2", "b=3"]);
}

#[tokio::test]
async fn a_given_timestamp_never_falls_even_over_recovery() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    let given = |t: crate::Tablet| async move { t.write(vec![set("a", "1")], None).await.unwrap().remove(0).unwrap().timestamp };
    let first = given(tablet.clone()).await;
    tablet.flush().await.unwrap();
    world.clock = common::time::ManualClock::at(common::time::Micros(5));
    let (_, tablet) = world.start().await;
    assert_eq!(given(tablet.clone()).await, first);
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_result_for_60_s_also_after_recovery() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    let id = Some([7; 16]);
    let outside = RowMutation { key: bytes(""), mutations: vec![Mutation::DeleteFamily { family: common::ids::FamilyId(99) }] };
    let request = vec![set("a", "1"), outside, set_at("b", "two", Some(1), "x")];
    let first = tablet.write(request.clone(), id).await.unwrap();
    assert!(first[1].is_err());
    assert_eq!(tablet.write(request.clone(), id).await.unwrap(), first);
    tablet.flush().await.unwrap();
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(10));
        let (engine, tablet) = world.start().await;
        assert_eq!(tablet.write(request.clone(), id).await.unwrap(), first);
        assert_eq!(tablet.visible(), Seq(2));
        engine.shutdown().await.unwrap();
    }
    world.clock.advance(Duration::from_secs(61));
    let (_, tablet) = world.start().await;
    assert_ne!(tablet.write(request, id).await.unwrap(), first);
}

#[tokio::test]
async fn concurrent_writes_share_group_commits() {
    let mut world = World::new();
    let (engine, tablet) = world.start().await;
    let writes = (0..200).map(|i| {
        let tablet = tablet.clone();
        tokio::spawn(async move { write(&tablet, set(&format!("{i:03}"), "v")).await })
    });
    let mut seqs: Vec<_> = futures::future::join_all(writes.collect::<Vec<_>>()).await.into_iter().map(|s| s.unwrap().0).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    assert_eq!(values(&tablet, Seq::MAX).await.len(), 200);
    assert!(engine.metrics().log_groups < 200, "{:?}", engine.metrics());
    let _ = family("all");
}

#[tokio::test]
async fn a_write_beyond_the_budget_is_refused_with_a_time_to_wait() {
    let mut world = World::new();
    world.tune = |config| {
        config.memtable_bytes = 1000;
        config.write_patience = Duration::from_millis(20);
    };
    let (engine, tablet) = world.start().await;
    write(&tablet, set("a", &"x".repeat(2000))).await;
    let refused = tablet.write(vec![set("b", "1")], None).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::ResourceExhausted);
    assert!(refused.retry_after.is_some());
    assert_eq!(engine.metrics().writes_refused, 1);
    tablet.flush().await.unwrap();
    write(&tablet, set("b", "1")).await;
}
