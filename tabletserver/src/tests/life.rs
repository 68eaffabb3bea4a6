use super::harness::{World, client, desired, read, scan, set, table, write};
use crate::TabletServer;
use common::ErrorKind;
use common::config::LogKind;
use common::ids::{Incarnation, ServerId};
use common::row::ReadSpec;
use common::rpc::master::TabletState;
use common::rpc::tablet::ReadAt;
use common::schema::TableKind;
use common::time::{ManualClock, Micros, SystemClock};
use std::time::Duration;

#[tokio::test]
async fn the_next_life_on_a_folder_finds_everything() {
    everything_is_found_again(&World::new().await).await;
}

#[tokio::test]
async fn the_next_life_finds_everything_in_a_log_in_the_store() {
    let mut world = World::new().await;
    world.log = LogKind::Object;
    let (folder, logs) = (world.dir.path().join("server/log"), world.dir.path().join("store/log"));
    everything_is_found_again(&world).await;
    assert!(!folder.exists() && logs.exists());
}

async fn everything_is_found_again(world: &World) {
    let t = table(7, "raw.t", TableKind::Raw);
    let (server, mut c) = world.serve(&[&t], 1).await;
    assert_eq!((server.identity().server, server.identity().incarnation), (ServerId(1), Incarnation(1)));
    write(&mut c, &t, vec![set(&t, "a", 1)]).await.unwrap();
    server.shutdown().await.unwrap();
    let last = world.until(|r| r.tablets.iter().all(|t| t.state == TabletState::Closed)).await;
    assert_eq!(last.incarnation, Incarnation(1));

    let (server, mut c) = world.serve(&[&t], 2).await;
    assert_eq!((server.identity().server, server.identity().incarnation), (ServerId(1), Incarnation(2)));
    assert_eq!(scan(&mut c, &t, &["k", "n"], ReadAt::newest()).await.unwrap(), ["a 1"]);
    write(&mut c, &t, vec![set(&t, "b", 2)]).await.unwrap();
    // Fenced: nothing is flushed any more, so what comes is in the log alone.
    world.order(|said| said.fenced = true);
    assert_eq!(server.wait().await.unwrap_err().kind, ErrorKind::Fenced);
    world.order(|said| said.fenced = false);
    let (server, mut c) = world.serve(&[&t], 3).await;
    assert_eq!(server.identity().incarnation, Incarnation(3));
    assert_eq!(scan(&mut c, &t, &["k", "n"], ReadAt::newest()).await.unwrap(), ["a 1", "b 2"]);
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let world = World::new().await;
    let server = world.start().await;
    let e = TabletServer::start(world.config(), SystemClock::shared()).await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::FailedPrecondition);
    assert!(e.message.contains("in use"), "{e}");
    server.shutdown().await.unwrap();
    world.start().await.shutdown().await.unwrap();
}

#[tokio::test]
async fn without_a_lease_nothing_is_served() {
    let world = World::new().await;
    let t = table(7, "raw.t", TableKind::Raw);
    let clock = ManualClock::at(Micros(1_000_000_000));
    let server = world.start_with(clock.clone()).await;
    world.order(|said| (said.tables, said.desired) = (vec![t.clone()], vec![desired(&t, 1)]));
    world.until_tablet(7, |_, state| *state == TabletState::Open).await;
    let mut c = client(&server).await;
    write(&mut c, &t, vec![set(&t, "a", 1)]).await.unwrap();

    world.order(|said| said.silent = true);
    clock.advance(Duration::from_secs(3));
    for refused in [
        write(&mut c, &t, vec![set(&t, "b", 2)]).await.unwrap_err(),
        read(&mut c, &t, ReadSpec::default(), ReadAt::newest()).await.unwrap_err(),
        scan(&mut c, &t, &["k"], ReadAt::newest()).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind, ErrorKind::NotMine);
        assert!(refused.is_retryable());
    }
    world.order(|said| said.silent = false);
    // Orders that answer a report from before the silence give no lease: as a gateway does, ask until there is one.
    let rows = loop {
        match scan(&mut c, &t, &["k"], ReadAt::newest()).await {
            Ok(rows) => break rows,
            Err(e) => assert_eq!(e.kind, ErrorKind::NotMine, "{e}"),
        }
    };
    assert_eq!(rows, ["a"]);
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_tablet_that_does_not_open_is_reported_with_the_reason() {
    let world = World::new().await;
    let t = table(7, "raw.t", TableKind::Raw);
    let (server, _) = world.serve(&[&t], 5).await;
    server.shutdown().await.unwrap();
    let server = world.start().await;
    world.order(|said| (said.tables, said.desired) = (vec![t.clone()], vec![desired(&t, 4)]));
    let failed = |state: &TabletState| matches!(state, TabletState::Failed { reason } if !reason.is_empty());
    world.until_tablet(7, |epoch, state| epoch == 4 && failed(state)).await;
    world.order(|said| said.desired = vec![desired(&t, 6)]);
    world.until_tablet(7, |epoch, state| epoch == 6 && *state == TabletState::Open).await;
    server.shutdown().await.unwrap();
}
