use super::format::{ObjectHeader, ObjectKind};
use super::put::{Objects, Put};
use super::{ObjectLog, fence_log, remove_objects};
use crate::ObjectLogSettings;
use crate::format::{LogBody, LogName, LogRecord, names};
use crate::log::{Durable, EncodedRecords, Log, LogReader};
use crate::metrics::Metrics;
use common::ids::{Epoch, Incarnation, RunId, Seq, ServerId, TabletId};
use common::store::{Faults, FaultyStore, SharedStore};
use common::time::{ManualClock, Micros};
use common::{ErrorKind, Result};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::time::Duration;

mod gate;
use gate::Gate;

const NAME: LogName = LogName { server: ServerId(3), incarnation: Incarnation(5) };

fn settings() -> ObjectLogSettings {
    ObjectLogSettings { gather: Duration::ZERO, ..ObjectLogSettings::default() }
}

async fn log(store: SharedStore, settings: ObjectLogSettings) -> (ObjectLog, Arc<ManualClock>) {
    let clock = ManualClock::at(Micros(1_000_000_000));
    (ObjectLog::create(store, NAME, settings, clock.clone(), Arc::default()).await.unwrap(), clock)
}

fn record(tablet: u64, n: u64) -> LogRecord {
    let body = LogBody::Apply { runs: vec![RunId(n)] };
    LogRecord { tablet: TabletId(tablet), epoch: Epoch(1), first: Seq(n), last: Seq(n), body }
}

fn append(log: &ObjectLog, tablet: u64, n: u64) -> Durable {
    log.append(EncodedRecords::one(&record(tablet, n)).unwrap())
}

/// The seqs of a tablet's records below a fence.
async fn read(store: &SharedStore, tablet: u64, fence: u64) -> Vec<u64> {
    let reader = Arc::new(LogReader::objects(store.clone(), NAME, fence).await.unwrap());
    reader.records((TabletId(tablet), Epoch(1))).map_ok(|(_, r)| r.last.0).try_collect().await.unwrap()
}

async fn kinds(durables: impl IntoIterator<Item = Durable>) -> Vec<std::result::Result<u64, ErrorKind>> {
    futures::future::join_all(durables).await.into_iter().map(|d| d.unwrap().map_err(|e| e.kind)).collect()
}

#[tokio::test]
async fn what_comes_while_a_put_flies_goes_together() {
    let gate = Gate::new();
    let (log, _) = log(gate.clone(), ObjectLogSettings { puts_in_flight: 1, ..settings() }).await;
    gate.hold([2]);
    let first = append(&log, 1, 1);
    gate.arrived(2).await;
    let rest: Vec<_> = (2..=10_000).map(|n| append(&log, n % 7, n)).collect();
    assert_eq!(log.newest(), 2, "nothing above is durable");
    gate.release([2]);
    assert_eq!(kinds([first]).await, [Ok(2)]);
    assert_eq!(kinds(rest).await, vec![Ok(3); 9_999]);
    let store: SharedStore = gate;
    assert_eq!(read(&store, 3, 4).await, (0..10_000).filter(|n| n % 7 == 3).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_store_that_takes_longer_than_an_attempt_each_time_is_written_and_fenced() {
    let attempt = Duration::from_millis(5);
    let slow = Faults { slow: 1.0, delay: 10 * attempt, ..Faults::default() };
    let faulty = FaultyStore::new(Arc::new(InMemory::new()), slow, 1);
    let store: SharedStore = faulty.clone();
    let (log, _) = log(store.clone(), ObjectLogSettings { attempt, ..settings() }).await;
    let first = append(&log, 1, 1);
    assert_eq!(kinds([first]).await, [Ok(2)]);
    let position = fence_log(&store, NAME, 7).await.unwrap();
    assert_eq!(position, 3);
    faulty.enable(false);
    assert_eq!(read(&store, 1, position).await, [1]);
}

#[tokio::test]
async fn a_number_is_durable_only_when_all_below_it_are() {
    let gate = Gate::new();
    let (log, _) = log(gate.clone(), settings()).await;
    gate.hold([2]);
    let mut durables = Vec::new();
    for n in 2..=4 {
        durables.push(append(&log, 1, n));
        gate.arrived(n).await;
    }
    gate.landed([3, 4]).await;
    assert!(durables.iter_mut().all(|d| d.try_recv().is_err()) && log.newest() == 2);
    gate.release([2]);
    assert_eq!(kinds(durables).await, [Ok(2), Ok(3), Ok(4)]);
    assert_eq!(log.newest(), 5);
    log.close().await.unwrap();
    assert_eq!(kinds([append(&log, 1, 9)]).await, [Err(ErrorKind::Unavailable)]);
}

#[tokio::test]
async fn a_fence_lies_at_the_first_number_that_is_free_and_nothing_from_there_on_is_acknowledged() {
    let gate = Gate::new();
    let (log, _) = log(gate.clone(), settings()).await;
    gate.hold([3]);
    let mut durables = Vec::new();
    for n in 2..=5 {
        durables.push(append(&log, 1, n));
        gate.arrived(n).await;
    }
    gate.landed([2, 4, 5]).await;
    let store: SharedStore = gate.clone();
    // The held number is of the writer: the fencer's own puts pass.
    gate.pass_fences();
    assert_eq!(fence_log(&store, NAME, 1).await.unwrap(), 3);
    assert_eq!(fence_log(&store, NAME, 1).await.unwrap(), 3, "the same fence again");
    assert_eq!(fence_log(&store, NAME, 2).await.unwrap(), 3, "another's fence is as good");
    gate.release([3]);
    assert_eq!(kinds(durables).await, [Ok(2), Err(ErrorKind::Fenced), Err(ErrorKind::Fenced), Err(ErrorKind::Fenced)]);
    assert_eq!(log.ready().unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(kinds([append(&log, 1, 9)]).await, [Err(ErrorKind::Fenced)]);
    assert_eq!(read(&store, 1, 3).await, [2]);
    remove_objects(&store, NAME, 3).await.unwrap();
    assert_eq!(gate.numbers(NAME).await, [3], "the fence stays for ever");
    assert_eq!(fence_log(&store, NAME, 4).await.unwrap(), 3);
}

#[tokio::test]
async fn a_fence_is_found_above_numbers_that_were_trimmed_and_a_stale_one_is_none() {
    let store: SharedStore = Arc::new(InMemory::new());
    let (log, clock) = log(store.clone(), settings()).await;
    for n in 2..=100 {
        assert_eq!(kinds([append(&log, 1, n)]).await, [Ok(n)]);
    }
    clock.advance(Duration::from_secs(61));
    log.trim(70).await.unwrap();
    assert_eq!((log.shared.objects.oldest(), log.newest()), (70, 101));
    log.trim(1_000).await.unwrap();
    assert_eq!((log.shared.objects.oldest(), log.newest()), (100, 101), "the newest stays");
    // As if a fencer had seen a stale list and died before it noticed.
    let header = ObjectHeader { log: NAME, number: 60, nonce: 9, kind: ObjectKind::Fence };
    store.put(&names::log_object(NAME, 60), header.encode().unwrap().into()).await.unwrap();
    assert_eq!(fence_log(&store, NAME, 9).await.unwrap(), 101);
    assert_eq!(read(&store, 1, 101).await, [100]);
}

#[tokio::test]
async fn a_live_writer_cannot_outrun_a_fencer() {
    let store: SharedStore = Arc::new(InMemory::new());
    let (log, _) = log(store.clone(), settings()).await;
    let fencing = fence_log(&store, NAME, 1);
    let writing = async {
        let mut n = 1;
        loop {
            n += 1;
            match append(&log, 1, n).await.unwrap() {
                Ok(at) => assert_eq!(at, n),
                Err(e) => return (n, e.kind),
            }
        }
    };
    let (fence, (lost, kind)) = tokio::join!(fencing, writing);
    assert_eq!((fence.unwrap(), kind), (lost, ErrorKind::Fenced));
    assert_eq!(read(&store, 1, lost).await, (2..lost).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_put_stops_writes_until_it_lands() {
    let gate = Gate::new();
    let (log, _) = log(gate.clone(), ObjectLogSettings { attempt: Duration::from_millis(5), ..settings() }).await;
    gate.hold([2]);
    let durable = append(&log, 1, 1);
    // The store does not answer: each attempt is given up, and made again under the same name.
    gate.attempts(2, 3).await;
    let e = log.ready().unwrap_err();
    assert_eq!((e.kind, e.retry_after), (ErrorKind::ResourceExhausted, Some(Duration::from_millis(5))));
    gate.release([2]);
    assert_eq!(kinds([durable]).await, [Ok(2)]);
    log.ready().unwrap();
}

#[tokio::test]
async fn too_much_waiting_stops_writes() {
    let gate = Gate::new();
    let (log, _) = log(gate.clone(), ObjectLogSettings { pending_bytes: 100, ..settings() }).await;
    gate.hold([2]);
    let durables: Vec<_> = (0..10).map(|n| append(&log, 1, n)).collect();
    assert_eq!(log.ready().unwrap_err().kind, ErrorKind::ResourceExhausted);
    gate.release([2]);
    assert!(kinds(durables).await.iter().all(Result::is_ok));
    log.ready().unwrap();
}

#[tokio::test]
async fn an_incarnation_logs_once() {
    let store: SharedStore = Arc::new(InMemory::new());
    let create = |store: &SharedStore| ObjectLog::create(store.clone(), NAME, settings(), ManualClock::at(Micros(1)), Arc::default());
    create(&store).await.unwrap();
    assert_eq!(create(&store).await.unwrap_err().kind, ErrorKind::AlreadyExists);
    let store: SharedStore = Arc::new(InMemory::new());
    assert_eq!(fence_log(&store, NAME, 1).await.unwrap(), 1, "it never began");
    assert_eq!(create(&store).await.unwrap_err().kind, ErrorKind::Fenced);
}

#[tokio::test]
async fn recovery_reads_its_own_tablets_part() {
    let gate = Gate::new();
    let (log, _) = log(gate.clone(), settings()).await;
    let big = |tablet| {
        let request = |i| crate::format::Remembered {
            request: [i as u8; 16],
            first: Seq(i),
            rows: 1,
            timestamp: Micros(1),
            refused: Vec::new(),
            outcome: crate::format::Outcome::Written,
        };
        let body = LogBody::Requests((0..3_000).map(request).collect());
        EncodedRecords::one(&LogRecord { body, ..record(tablet, 1) }).unwrap()
    };
    gate.hold([2]);
    let first = append(&log, 50, 1);
    gate.arrived(2).await;
    let length = big(1).bytes.len() as u64;
    let durables: Vec<_> = (0..50).map(|tablet| log.append(big(tablet))).collect();
    gate.release([2]);
    assert!(kinds(durables.into_iter().chain([first])).await.iter().all(Result::is_ok));
    let store: SharedStore = gate.clone();
    let read_before = gate.bytes_read();
    let reader = Arc::new(LogReader::objects(store, NAME, log.newest()).await.unwrap());
    for tablet in [7, 8] {
        let records: Vec<_> = reader.records((TabletId(tablet), Epoch(1))).try_collect().await.unwrap();
        assert_eq!(records.len(), 1);
    }
    let read = gate.bytes_read() - read_before;
    assert!(read < 2 * length + 3 * (16 << 10), "{read} bytes read for 2 parts of {length}, of 50");
}

/// One life of a log on a store that does anything but lie, and fencers that come at any time.
async fn life(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let inner: SharedStore = Arc::new(InMemory::new());
    let delay = Duration::from_millis(random.random_range(0..3));
    let faults = Faults { stale_list: 0.2, ..Faults::unreliable(random.random_range(0.0..0.3), delay) };
    let store: SharedStore = FaultyStore::new(inner.clone(), faults, seed);
    let settings = ObjectLogSettings {
        gather: Duration::from_micros(random.random_range(0..500)),
        object_bytes: random.random_range(100..2_000),
        puts_in_flight: random.random_range(1..9),
        attempt: Duration::from_millis(random.random_range(1..6)),
        ..settings()
    };
    let clock = ManualClock::at(Micros(1_000_000_000));
    let Ok(log) = ObjectLog::create(store.clone(), NAME, settings, clock.clone(), Arc::default()).await else { return };
    let count = random.random_range(1..150);
    let writing = async {
        let mut durables = Vec::new();
        for n in 1..=count {
            durables.push((n % 3, n, append(&log, n % 3, n)));
            if n % 5 == seed % 5 {
                tokio::task::yield_now().await;
            }
            if n % 40 == 0 {
                clock.advance(Duration::from_secs(61));
                let _ = log.trim(log.newest().saturating_sub(4)).await;
            }
        }
        let mut results = Vec::new();
        for (tablet, n, durable) in durables {
            results.push((tablet, n, durable.await.unwrap().map_err(|e| e.kind)));
        }
        results
    };
    let fencing = |nonce, wait| {
        let store = store.clone();
        async move {
            tokio::time::sleep(Duration::from_micros(wait)).await;
            loop {
                match fence_log(&store, NAME, nonce).await {
                    Ok(position) => return position,
                    Err(e) => assert_eq!(e.kind, ErrorKind::Unavailable, "{e}"),
                }
            }
        }
    };
    let waits = [random.random_range(0..20_000), random.random_range(0..20_000)];
    let (results, one, other) = tokio::join!(writing, fencing(1, waits[0]), fencing(2, waits[1]));
    assert_eq!(one, other, "seed {seed}: two positions");
    check(&inner, &log, &results, one, seed).await;
}

async fn check(store: &SharedStore, log: &ObjectLog, results: &[(u64, u64, Result<u64, ErrorKind>)], fence: u64, seed: u64) {
    assert!(log.newest() <= fence, "seed {seed}");
    let oldest = log.shared.objects.oldest();
    for tablet in 0..3 {
        let mine = results.iter().filter(|(t, _, _)| *t == tablet);
        let acknowledged = mine.clone().filter_map(|(_, n, r)| r.as_ref().ok().map(|at| (*n, *at)));
        let kept: Vec<_> = acknowledged.inspect(|(n, at)| assert!(*at < fence, "seed {seed}: {n} in {at}, fenced at {fence}")).collect();
        let kept: Vec<_> = kept.into_iter().filter(|(_, at)| *at > oldest).map(|(n, _)| n).collect();
        let mut found = read(store, tablet, fence).await;
        // Trimming deletes before it forgets: the oldest may be gone, if its deletion seemed to fail.
        found.retain(|n| kept.first().is_some_and(|first| n >= first));
        assert_eq!(found, kept, "seed {seed}: tablet {tablet}");
        assert!(mine.clone().all(|(_, _, r)| matches!(r, Ok(_) | Err(ErrorKind::Fenced))), "seed {seed}");
    }
}

#[tokio::test]
async fn a_log_never_acknowledges_past_a_fence_and_all_that_it_acknowledged_is_read() {
    let rounds = std::env::var("STELE_LOG_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let from: u64 = std::env::var("STELE_LOG_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(rand::random);
    println!("STELE_LOG_SEED={from}");
    for seed in (0..rounds).map(|i| from.wrapping_add(i)) {
        life(seed).await;
    }
}

#[tokio::test]
async fn object_bytes_are_as_released() {
    let mut batch = crate::log::batch::Batch::default();
    for (tablet, n) in [(2, 1), (1, 2), (2, 3)] {
        batch.push(EncodedRecords::one(&record(tablet, n)).unwrap(), tokio::sync::oneshot::channel().0);
    }
    let (records, _) = super::format::encode_records(NAME, 2, 77, &mut batch).unwrap();
    let fence = ObjectHeader { log: NAME, number: 3, nonce: 78, kind: ObjectKind::Fence }.encode().unwrap();
    crate::tests::golden("log-object-v1", &records);
    crate::tests::golden("log-fence-v1", &fence);
    let store: SharedStore = Arc::new(InMemory::new());
    store.put(&names::log_object(NAME, 2), records.into()).await.unwrap();
    assert_eq!((read(&store, 1, 3).await, read(&store, 2, 3).await), (vec![2], vec![1, 3]));
}

#[tokio::test]
async fn damage_in_an_object_is_an_error_or_not_read() {
    let inner = InMemory::new();
    let store: SharedStore = Arc::new(inner);
    let (log, _) = log(store.clone(), settings()).await;
    let durables: Vec<_> = (1..4).map(|n| append(&log, n % 2, n)).collect();
    kinds(durables).await;
    let path = names::log_object(NAME, log.newest() - 1);
    let whole = store.get(&path).await.unwrap().bytes().await.unwrap();
    let part = (TabletId(1), Epoch(1));
    let read = || async {
        let reader = Arc::new(LogReader::objects(store.clone(), NAME, log.newest()).await?);
        reader.records(part).map_ok(|(_, r)| r.last.0).try_collect::<Vec<_>>().await
    };
    let due = read().await.unwrap();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        store.put(&path, damaged.into()).await.unwrap();
        match read().await {
            Ok(found) => assert_eq!(found, due, "bit {bit}"),
            Err(e) => {
                assert_eq!(e.kind, ErrorKind::Corrupt, "bit {bit}: {e}");
                assert!(e.message.contains(path.as_ref()) && e.message.contains("offset"), "{e}");
            }
        }
    }
}

/// Prints what a log does whose puts take 100 ms. By hand: `cargo test -p storage --lib appends_a_second -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures"]
async fn appends_a_second() {
    let config = ThrottleConfig { wait_put_per_call: Duration::from_millis(100), ..ThrottleConfig::default() };
    let store: SharedStore = Arc::new(ThrottledStore::new(InMemory::new(), config));
    for clients in [1, 64, 256, 4_096] {
        let name = LogName { incarnation: Incarnation(clients), ..NAME };
        let metrics: Arc<Metrics> = Arc::default();
        let log = ObjectLog::create(store.clone(), name, ObjectLogSettings::default(), ManualClock::at(Micros(1)), metrics.clone());
        let log = log.await.unwrap();
        let start = std::time::Instant::now();
        let client = |tablet| {
            let log = &log;
            async move {
                for n in 0..20 {
                    append(log, tablet, n).await.unwrap().unwrap();
                }
            }
        };
        futures::future::join_all((0..clients).map(client)).await;
        let took = start.elapsed();
        let (rate, objects) = ((clients * 20) as f64 / took.as_secs_f64(), metrics.snapshot().log_groups);
        println!("{clients} clients: {rate:.0} appends/s, {:?} each, {objects} objects", took / 20);
    }
}

#[tokio::test]
async fn the_header_tells_whose_put_it_was() {
    let store: SharedStore = Arc::new(InMemory::new());
    let objects = Objects { store: store.clone(), name: NAME, attempt: Duration::from_secs(1) };
    let header = |nonce| ObjectHeader { log: NAME, number: 1, nonce, kind: ObjectKind::Fence };
    let put = |nonce| {
        let objects = objects.clone();
        async move { objects.put_once(1, nonce, header(nonce).encode().unwrap().into()).await.unwrap() }
    };
    assert_eq!((put(1).await, put(1).await, put(2).await), (Put::Won, Put::Won, Put::Lost(header(1))));
    assert_eq!(objects.header(2).await.unwrap(), None);
    let _: &dyn ObjectStore = store.as_ref();
}
