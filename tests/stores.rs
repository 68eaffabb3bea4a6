//! Stele on servers that speak S3 and Azure, over their network APIs with the clients that it has in production.
//!
//! The tests named `bucket_…` use the bucket that the environment names, whatever serves it: `STELE_TEST_BUCKET` is its URL
//! (`s3://bucket/prefix`, `az://container/prefix`), the `AWS_…` or `AZURE_…` variables are the usual ones. Run them so against Ceph, AWS or another server:
//!
//! ```text
//! STELE_TEST_BUCKET=s3://bucket/test AWS_ENDPOINT=http://127.0.0.1:7480 AWS_ALLOW_HTTP=true AWS_REGION=default \
//!   AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… cargo test -p stele --test stores -- --ignored
//! ```
//!
//! The others start a MiniStack or an Azurite for themselves and need Python or npm; where that is missing, each says that it
//! is skipped.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use bytes::Bytes;
use common::ids::{Epoch, Incarnation, Seq, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::register::Register;
use common::row::{Mutation, ReadSpec, RowMutation};
use common::schema::{Table, TableKind, TableSpec};
use common::store::{SharedStore, prove_create_if_absent};
use common::time::SystemClock;
use futures::TryStreamExt;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use storage::{Engine, EngineConfig, Tablet, TabletOpen};
use support::writers::{Writers, check, create_table, line};
use support::{Azurite, Bucket, Finished, Many, Ministack, stele};

/// Held by each test that starts such a server: two of them on two processors answer later than Stele waits.
static ALONE: Mutex<()> = Mutex::new(());

/// S3 wants parts of at least 5 MiB.
const PART: usize = 5 << 20;

/// The environment's bucket, under a prefix that nobody else uses.
fn bucket() -> Bucket {
    let url = std::env::var("STELE_TEST_BUCKET").expect("STELE_TEST_BUCKET: s3://bucket/prefix");
    Bucket { url: format!("{}/{:032x}", url.trim_end_matches('/'), common::store::nonce()), env: Vec::new() }
}

fn open() -> SharedStore {
    common::store::open(&bucket().url).unwrap()
}

#[tokio::test]
#[ignore = "uses the bucket of the environment"]
async fn bucket_keeps_create_if_absent() {
    let store = open();
    prove_create_if_absent(&store).await.unwrap();
    // Every version has one winner, and its content is the winner's.
    for number in 1..=20 {
        let contents: Vec<String> = (0..8).map(|writer| format!("writer {writer}")).collect();
        let writers = contents.iter().map(|content| {
            let register = Register::new(store.clone(), Path::from("register"));
            async move { register.put(number, 1, content.as_bytes()).await.unwrap() }
        });
        let won = join_all(writers).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "version {number}: {won:?}");
        let winner = won.iter().position(|won| *won).unwrap();
        let newest = Register::new(store.clone(), Path::from("register")).newest().await.unwrap().unwrap();
        assert_eq!((newest.number, newest.content.as_ref()), (number, contents[winner].as_bytes()));
    }
}

#[tokio::test]
#[ignore = "uses the bucket of the environment"]
async fn bucket_gives_back_what_was_put() {
    let store = open();
    let (small, large) = (Path::from("a/b"), Path::from("a/large"));
    store.put(&small, "0123456789".into()).await.unwrap();
    assert_eq!(store.get_range(&small, 2..6).await.unwrap(), "2345");
    assert_eq!(store.get_ranges(&small, &[0..1, 8..10]).await.unwrap(), ["0", "89"]);
    let parts: Vec<Bytes> = (0..3u8).map(|n| vec![n; PART].into()).collect();
    let mut upload = store.put_multipart(&large).await.unwrap();
    for part in &parts {
        upload.put_part(part.clone().into()).await.unwrap();
    }
    upload.complete().await.unwrap();
    assert_eq!(store.head(&large).await.unwrap().size, 3 * PART as u64);
    let seam = PART as u64;
    assert_eq!(store.get_range(&large, seam - 1..seam + 1).await.unwrap().as_ref(), [0, 1]);
    let listed: Vec<_> = store.list(Some(&Path::from("a"))).map_ok(|o| o.location).try_collect().await.unwrap();
    assert_eq!(listed, [small.clone(), large.clone()]);
    store.delete(&small).await.unwrap();
    store.delete(&large).await.unwrap();
    assert!(matches!(store.get(&small).await, Err(object_store::Error::NotFound { .. })));
}

fn table() -> Arc<Table> {
    let spec = serde_json::json!({ "name": "test.rows", "undeclared": "none", "families": { "f": {} } });
    let spec: TableSpec = serde_json::from_value(spec).unwrap();
    Arc::new(Table::create(TableId(5), TableKind::Raw, spec).unwrap())
}

fn rows(numbers: std::ops::Range<u32>, value: &str) -> Vec<RowMutation> {
    let family = table().family("f").unwrap().id;
    let row = |n: u32| {
        let set = Mutation::Set { family, qualifier: "q".into(), timestamp: None, value: format!("{value} {n}").into() };
        RowMutation { key: format!("{n:06}").into(), mutations: vec![set] }
    };
    numbers.map(row).collect()
}

async fn write(tablet: &Tablet, rows: Vec<RowMutation>) {
    for result in tablet.write(rows, None).await.unwrap() {
        result.unwrap();
    }
}

async fn values(tablet: &Tablet) -> Vec<(Bytes, Bytes)> {
    let spec = ReadSpec { ranges: vec![KeyRange::ALL], ..ReadSpec::default() };
    let batches: Vec<_> = tablet.read(spec, Seq::MAX).unwrap().try_collect().await.unwrap();
    batches.into_iter().flatten().map(|row| (row.key, row.cells[0].value.clone())).collect()
}

#[tokio::test]
#[ignore = "uses the bucket of the environment"]
async fn bucket_carries_an_engine_and_the_life_that_follows_it() {
    let store = open();
    let life = |server, incarnation| {
        EngineConfig::with_object_log(ServerId(server), Incarnation(incarnation), store.clone(), SystemClock::shared())
    };
    let opening = |epoch, log_fence| TabletOpen {
        tablet: TabletId(9),
        range: KeyRange::ALL,
        epoch: Epoch(epoch),
        table: table(),
        pin: None,
        log_fence,
    };
    let first = Engine::open(life(1, 1)).await.unwrap();
    let tablet = first.open_tablet(opening(1, None)).await.unwrap();
    write(&tablet, rows(0..500, "flushed")).await;
    tablet.flush().await.unwrap();
    write(&tablet, rows(400..600, "logged")).await;
    // The first life is not ended, only fenced: it may not acknowledge anything more.
    let log = storage::format::LogName { server: ServerId(1), incarnation: Incarnation(1) };
    let fence = storage::fence_log(&store, log, common::store::nonce()).await.unwrap();
    let second = Engine::open(life(2, 1)).await.unwrap();
    let taken = second.open_tablet(opening(2, Some(fence))).await.unwrap();
    assert!(tablet.write(rows(0..1, "late"), None).await.is_err());
    let found = values(&taken).await;
    assert_eq!(found.len(), 600);
    for (n, (key, value)) in found.iter().enumerate() {
        let expected = if n < 400 { "flushed" } else { "logged" };
        assert_eq!((key.as_ref(), value.as_ref()), (format!("{n:06}").as_bytes(), format!("{expected} {n}").as_bytes()));
    }
    second.shutdown().await.unwrap();
}

#[test]
#[ignore = "uses the bucket of the environment"]
fn bucket_carries_a_cluster_that_loses_a_server_and_its_disk() {
    let mut cluster = Many::start_on(bucket(), 1, 2);
    create_table(&cluster.http());
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(400);
    cluster.servers[0].kill();
    std::fs::remove_dir_all(cluster.server_folder(0)).unwrap();
    writers.wait_for_more(400);
    let acknowledged = writers.stop();
    check(&cluster.http(), &acknowledged);
}

#[test]
#[ignore = "uses the bucket of the environment"]
fn bucket_takes_a_backup_and_gives_it_back() {
    let cluster = Many::start_on(bucket(), 1, 1);
    let (http, place) = (cluster.http(), bucket().url);
    create_table(&http);
    let lines: String = (0..400).map(line).collect();
    assert_eq!(http.ingest("raw.killed", &lines).unwrap().0, 200);
    for arguments in [["backup", "raw.killed", &place], ["restore", &place, "raw.back"]] {
        Finished::of(stele().arg("admin").args(arguments).args(["--url", &cluster.url()])).ok();
    }
    assert_eq!(http.number("select count(*) as n from raw.back where a = concat('a', cast(n as varchar))"), 400);
}

#[test]
fn stele_runs_on_an_s3_server() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(server) = Ministack::start("stele_runs_on_an_s3_server") else { return };
    run_on(server.bucket("stele-tests"));
}

#[test]
fn stele_runs_on_an_azure_server() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(server) = Azurite::start("stele_runs_on_an_azure_server") else { return };
    run_on(server.container("stele-tests"));
}

/// The tests above in a process of their own, for a client reads its endpoint from the environment.
fn run_on(bucket: Bucket) {
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["bucket_", "--ignored", "--test-threads", "1"]).env("STELE_TEST_BUCKET", &bucket.url).envs(bucket.env);
    let done = Finished::of(&mut tests);
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    assert!(done.out.contains("test result: ok. 5 passed"), "{}", done.out);
}

#[test]
fn an_s3_server_killed_in_the_middle_of_an_ingest_loses_nothing_acknowledged() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut server) = Ministack::start("an_s3_server_killed_in_the_middle_of_an_ingest_loses_nothing_acknowledged") else { return };
    let mut cluster = Many::start_on(server.bucket("stele-kills"), 1, 2);
    create_table(&cluster.http());
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(400);
    server.kill();
    server.restart();
    writers.wait_for_more(400);
    // The store and a server at once: what the server had acknowledged is in the store, or was never acknowledged.
    server.kill();
    cluster.servers[0].kill();
    server.restart();
    writers.wait_for_more(400);
    let acknowledged = writers.stop();
    check(&cluster.http(), &acknowledged);
    cluster.restart_server(0);
    cluster.assert_runs();
}
