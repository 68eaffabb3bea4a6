//! Snapshots, clones, splits and merges share SSTables: every tablet stays what its model is, and nothing shared is lost.

use super::harness::{World, bytes, delete_row, ingest, opening_of, set, table, values, without_cache_at_times, write};
use crate::format::{SstableName, names};
use crate::procedures::{NewTablet, NothingPinned, ObjectPins, Procedures, Referrer, RenamedEnd, Source};
use crate::{Engine, Tablet, TabletOpen};
use common::ErrorKind;
use common::ids::{Epoch, Seq, TableId, TabletId};
use common::key::KeyRange;
use common::row::Committed;
use common::schema::TableKind;
use object_store::ObjectStoreExt;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Model = BTreeMap<String, String>;

#[derive(Clone, Debug)]
enum Op {
    /// Tablet, key, whether to delete it.
    Write(usize, u8, bool),
    /// A new request of two rows, sent to nobody yet.
    Request(u8, u8),
    /// Which request, and to which tablet; again and again, as after lost answers.
    Send(usize, usize),
    /// Tablet, first key, how many.
    Ingest(usize, u8, u8),
    Flush(usize),
    Compact(usize),
    Snapshot(usize),
    DropSnapshot(usize),
    /// Tablet, and the range within it.
    Clone(usize, u8, u8),
    CloneSnapshot(usize),
    /// As a backup is: by copies under other names.
    Restore(usize, u8, u8),
    Split(usize, u8),
    Merge(usize),
    Drop(usize),
    Restart,
    Scrub(usize),
    Check(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let (t, k) = (0usize..64, 0u8..16);
    prop_oneof![
        12 => (t.clone(), k.clone(), prop::bool::weighted(0.2)).prop_map(|(t, k, d)| Op::Write(t, k, d)),
        3 => (k.clone(), k.clone()).prop_map(|(a, b)| Op::Request(a, b)),
        8 => (0usize..64, t.clone()).prop_map(|(n, t)| Op::Send(n, t)),
        4 => (t.clone(), k.clone(), 1u8..8).prop_map(|(t, k, n)| Op::Ingest(t, k, n)),
        4 => t.clone().prop_map(Op::Flush),
        4 => t.clone().prop_map(Op::Compact),
        2 => t.clone().prop_map(Op::Snapshot),
        1 => t.clone().prop_map(Op::DropSnapshot),
        2 => (t.clone(), k.clone(), k.clone()).prop_map(|(t, a, b)| Op::Clone(t, a, b)),
        1 => t.clone().prop_map(Op::CloneSnapshot),
        2 => (t.clone(), k.clone(), k.clone()).prop_map(|(t, a, b)| Op::Restore(t, a, b)),
        3 => (t.clone(), k).prop_map(|(t, k)| Op::Split(t, k)),
        2 => t.clone().prop_map(Op::Merge),
        1 => t.clone().prop_map(Op::Drop),
        1 => Just(Op::Restart),
        1 => t.clone().prop_map(Op::Scrub),
        4 => t.prop_map(Op::Check),
    ]
}

fn key(k: u8) -> String {
    format!("k{k:02}")
}

fn within(model: &Model, range: &KeyRange) -> Model {
    model.iter().filter(|(k, _)| range.contains(k.as_bytes())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

struct Open {
    tablet: Tablet,
    range: KeyRange,
    model: Model,
}

struct Snapshot {
    tablet: TabletId,
    range: KeyRange,
    model: Model,
}

/// Rows of a request that may have been sent before.
type Pending = Vec<(String, String)>;

/// What a tablet, or one that it comes from, has decided of its rows.
#[derive(Clone, Default)]
struct Book {
    /// By request and position.
    decided: BTreeMap<(usize, usize), Committed>,
    /// Requests that were decided about, if only for rows of others.
    seen: BTreeSet<usize>,
}

struct Cluster {
    world: World,
    requests: Vec<Pending>,
    books: BTreeMap<TabletId, Book>,
    engine: Arc<Engine>,
    tablets: BTreeMap<TabletId, Open>,
    snapshots: BTreeMap<String, Snapshot>,
    ended: Vec<TabletId>,
    next: u64,
}

impl Cluster {
    async fn new() -> Self {
        let mut world = World::new();
        world.tune = without_cache_at_times;
        let engine = world.engine().await;
        let (tablets, snapshots) = (BTreeMap::new(), BTreeMap::new());
        let mut this = Self { world, requests: Vec::new(), books: BTreeMap::new(), engine, tablets, snapshots, ended: Vec::new(), next: 1 };
        let first = TabletId(this.number());
        this.open(first, KeyRange::ALL, Model::new()).await;
        this
    }

    /// A tablet id or an epoch never used before.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn epoch(&mut self, tablet: TabletId) -> Epoch {
        let epoch = Epoch(self.number());
        self.world.pins.set_epoch(tablet, epoch);
        epoch
    }

    async fn open(&mut self, id: TabletId, range: KeyRange, model: Model) {
        let epoch = self.epoch(id);
        let open = TabletOpen { tablet: id, range: range.clone(), epoch, table: table(TableKind::Raw), pin: None, log_fence: None };
        let tablet = self.engine.open_tablet(open).await.unwrap();
        self.tablets.insert(id, Open { tablet, range, model });
    }

    fn pick(&self, n: usize) -> Option<TabletId> {
        self.tablets.keys().nth(n % self.tablets.len().max(1)).copied()
    }

    fn new_tablet(&mut self, range: &KeyRange) -> NewTablet {
        NewTablet { tablet: TabletId(self.number()), table: TableId(5), range: range.clone() }
    }

    fn procedures(&self) -> Procedures {
        self.engine.procedures()
    }

    async fn close(&mut self, id: TabletId) -> Open {
        self.engine.close_tablet(id).await.unwrap();
        self.tablets.remove(&id).unwrap()
    }

    async fn check(&self, id: TabletId) {
        let open = &self.tablets[&id];
        let expected: Vec<_> = open.model.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(values(&open.tablet, Seq::MAX).await, expected, "tablet {id}");
    }

    async fn step(&mut self, op: Op) {
        let of = match op {
            Op::Write(t, ..) | Op::Ingest(t, ..) | Op::Flush(t) | Op::Compact(t) | Op::Snapshot(t) | Op::Clone(t, ..) | Op::Split(t, _) => {
                t
            }
            Op::Merge(t) | Op::Drop(t) | Op::Scrub(t) | Op::Check(t) | Op::Restore(t, ..) => t,
            Op::Send(_, t) => t,
            Op::Request(..) | Op::DropSnapshot(_) | Op::CloneSnapshot(_) | Op::Restart => 0,
        };
        let Some(id) = self.pick(of) else { return };
        match op {
            Op::Write(_, k, delete) => self.write(id, &key(k), delete).await,
            Op::Request(a, b) => self.request(a, b),
            Op::Send(n, _) => self.send(n, id).await,
            Op::Ingest(_, k, n) => self.ingest(id, k..k + n).await,
            Op::Flush(_) => self.tablets[&id].tablet.flush().await.unwrap(),
            Op::Compact(_) => self.tablets[&id].tablet.compact().await.unwrap(),
            Op::Snapshot(_) => self.snapshot(id).await,
            Op::DropSnapshot(n) => {
                if let Some(name) = self.snapshots.keys().nth(n).cloned() {
                    self.procedures().drop_snapshot(&name, self.snapshots[&name].tablet).await.unwrap();
                    self.snapshots.remove(&name);
                }
            }
            Op::Clone(_, a, b) => {
                let range = KeyRange::new(key(a.min(b)), (a != b).then(|| bytes(&key(a.max(b)))));
                if let Some(range) = self.tablets[&id].range.intersect(&range) {
                    self.tablets[&id].tablet.flush().await.unwrap();
                    self.clone_of(Source::Tablet(id), range, self.tablets[&id].model.clone()).await;
                }
            }
            Op::CloneSnapshot(n) => {
                if let Some((name, s)) = self.snapshots.iter().nth(n) {
                    let source = Source::Snapshot { name: name.clone(), tablet: s.tablet };
                    self.clone_of(source, s.range.clone(), s.model.clone()).await;
                }
            }
            Op::Restore(_, a, b) => {
                let range = KeyRange::new(key(a.min(b)), (a != b).then(|| bytes(&key(a.max(b)))));
                if let Some(range) = self.tablets[&id].range.intersect(&range) {
                    self.tablets[&id].tablet.flush().await.unwrap();
                    self.restore(id, range).await;
                }
            }
            Op::Split(_, k) => self.split(id, &key(k)).await,
            Op::Merge(_) => self.merge(id).await,
            Op::Drop(_) => {
                self.close(id).await;
                self.end(id).await;
            }
            Op::Restart => self.restart().await,
            Op::Scrub(_) => drop(self.procedures().scrub(id).await.unwrap()),
            Op::Check(_) => self.check(id).await,
        }
    }

    async fn write(&mut self, id: TabletId, key: &str, delete: bool) {
        let value = self.number().to_string();
        let open = self.tablets.get_mut(&id).unwrap();
        if !open.range.contains(key.as_bytes()) {
            return;
        }
        if delete {
            write(&open.tablet, delete_row(key)).await;
            open.model.remove(key);
        } else {
            write(&open.tablet, set(key, &value)).await;
            open.model.insert(key.to_owned(), value);
        }
    }

    fn request(&mut self, a: u8, b: u8) {
        let value = self.number().to_string();
        self.requests.push([a, b].iter().map(|k| (key(*k), format!("{value}.{k}"))).collect());
    }

    /// Sends all rows of a request to one tablet. It decides those of its range once, and knows what became of them since.
    async fn send(&mut self, n: usize, id: TabletId) {
        if self.requests.is_empty() {
            return;
        }
        let n = n % self.requests.len();
        let (pending, open, book) = (&self.requests[n], self.tablets.get_mut(&id).unwrap(), self.books.entry(id).or_default());
        let rows = pending.iter().map(|(key, value)| set(key, value)).collect();
        let results = open.tablet.write(rows, Some([n as u8; 16])).await.unwrap();
        let (mut any, seen) = (false, book.seen.contains(&n));
        for (i, ((key, value), result)) in pending.iter().zip(results).enumerate() {
            let own = open.range.contains(key.as_bytes());
            match (result, book.decided.get(&(n, i))) {
                (result, _) if !own => assert!(seen || result.unwrap_err().kind == ErrorKind::NotMine, "{key} is not of tablet {id}"),
                (Ok(committed), Some(before)) => assert_eq!(committed, *before, "{key} was decided twice"),
                (Ok(committed), None) => {
                    any = true;
                    open.model.insert(key.clone(), value.clone());
                    book.decided.insert((n, i), committed);
                }
                // Rows that a tablet did not have when it decided about others are surely not written.
                (Err(e), before) => assert!(e.kind == ErrorKind::NotMine && seen && before.is_none(), "{key}: {e}"),
            }
        }
        if any {
            book.seen.insert(n);
        }
    }

    /// What the owner of a range has of the books of those that it comes from.
    fn inherit(&mut self, from: &[TabletId], new: &NewTablet) {
        let mut own = Book::default();
        for book in from.iter().filter_map(|id| self.books.get(id)) {
            own.seen.extend(&book.seen);
            let inside = |(n, i): &(usize, usize)| new.range.contains(self.requests[*n][*i].0.as_bytes());
            own.decided.extend(book.decided.iter().filter(|(row, _)| inside(row)).map(|(row, c)| (*row, c.clone())));
        }
        self.books.insert(new.tablet, own);
    }

    async fn ingest(&mut self, id: TabletId, keys: std::ops::Range<u8>) {
        let value = self.number().to_string();
        let open = self.tablets.get_mut(&id).unwrap();
        let keys: Vec<_> = keys.map(key).filter(|key| open.range.contains(key.as_bytes())).collect();
        if !keys.is_empty() {
            ingest(&open.tablet, keys.iter().map(|key| set(key, &value)).collect()).await;
            open.model.extend(keys.into_iter().map(|key| (key, value.clone())));
        }
    }

    async fn snapshot(&mut self, id: TabletId) {
        let name = format!("s{}", self.number());
        let open = &self.tablets[&id];
        open.tablet.flush().await.unwrap();
        self.procedures().take_snapshot(&name, id).await.unwrap();
        self.snapshots.insert(name, Snapshot { tablet: id, range: open.range.clone(), model: open.model.clone() });
    }

    async fn clone_of(&mut self, source: Source, range: KeyRange, model: Model) {
        let new = self.new_tablet(&range);
        self.procedures().clone_tablet(&source, &new).await.unwrap();
        self.procedures().clone_tablet(&source, &new).await.unwrap();
        let model = within(&model, &range);
        self.open(new.tablet, range, model).await;
    }

    async fn restore(&mut self, id: TabletId, range: KeyRange) {
        let (store, new) = (self.world.store.clone(), self.new_tablet(&range));
        let source = self.procedures().manifest(id).await.unwrap();
        let mut renamed = BTreeMap::new();
        for (from, number) in source.sstables.iter().filter_map(|s| s.within(&range)).zip(7..) {
            let to = SstableName { home: new.tablet, epoch: Epoch(0), number };
            let path = names::sstable(&from.name);
            let end = RenamedEnd::read(&store, &path, from.size, from.name, to).await.unwrap();
            let kept = store.get_range(&path, 0..end.keep).await.unwrap();
            store.put(&names::sstable(&to), [kept, end.end.clone()].concat().into()).await.unwrap();
            renamed.insert(from.name, (to, end.size()));
        }
        for _ in 0..2 {
            self.procedures().adopt_tablet(&source, &new, |s| renamed[&s.name]).await.unwrap();
        }
        let model = within(&self.tablets[&id].model, &range);
        self.open(new.tablet, range, model).await;
    }

    async fn split(&mut self, id: TabletId, at: &str) {
        let range = self.tablets[&id].range.clone();
        if range.start >= at || !range.contains(at.as_bytes()) {
            return;
        }
        let Open { model, .. } = self.close(id).await;
        let low = self.new_tablet(&KeyRange::new(range.start.clone(), Some(bytes(at))));
        let high = self.new_tablet(&KeyRange::new(bytes(at), range.end.clone()));
        let epoch = self.epoch(id);
        self.procedures().split_tablet(id, epoch, &[low.clone(), high.clone()]).await.unwrap();
        self.end(id).await;
        for part in [low, high] {
            self.inherit(&[id], &part);
            self.open(part.tablet, part.range.clone(), within(&model, &part.range)).await;
        }
    }

    async fn merge(&mut self, id: TabletId) {
        let range = self.tablets[&id].range.clone();
        let next = self.tablets.iter().find(|(_, o)| Some(&o.range.start) == range.end.as_ref()).map(|(id, _)| *id);
        let Some(next) = next else { return };
        let (left, right) = (self.close(id).await, self.close(next).await);
        let into = self.new_tablet(&KeyRange { start: range.start, end: right.range.end.clone() });
        let parents = [(id, self.epoch(id)), (next, self.epoch(next))];
        match self.procedures().merge_tablets(parents, &into).await {
            Ok(()) => {
                self.end(id).await;
                self.end(next).await;
                self.inherit(&[id, next], &into);
                let model = left.model.into_iter().chain(right.model).collect();
                self.open(into.tablet, into.range, model).await;
            }
            Err(e) => {
                assert!(e.message.contains("do not meet"), "{e}");
                self.world.pins.narrow(&Referrer::Tablet(into.tablet), &[]).await.unwrap();
                self.open(id, left.range, left.model).await;
                self.open(next, right.range, right.model).await;
            }
        }
    }

    async fn end(&mut self, id: TabletId) {
        let epoch = self.epoch(id);
        if self.procedures().end_tablet(id, epoch).await.unwrap() > 0 {
            self.ended.push(id);
        }
    }

    async fn restart(&mut self) {
        self.engine = self.world.engine().await;
        for (id, Open { range, model, .. }) in std::mem::take(&mut self.tablets) {
            self.open(id, range, model).await;
        }
    }

    /// Everything is what it should be, and once nobody needs anything, nothing is left.
    async fn finish(mut self) {
        self.restart().await;
        for id in self.tablets.keys().copied().collect::<Vec<_>>() {
            self.check(id).await;
        }
        for (name, s) in std::mem::take(&mut self.snapshots) {
            let source = Source::Snapshot { name: name.clone(), tablet: s.tablet };
            self.clone_of(source, s.range, s.model).await;
            self.check(TabletId(self.next - 1)).await;
            self.procedures().drop_snapshot(&name, s.tablet).await.unwrap();
        }
        for id in self.tablets.keys().copied().collect::<Vec<_>>() {
            self.close(id).await;
            self.end(id).await;
        }
        // The engine may still be letting go of what its tablets gave up.
        for _ in 0..1000 {
            for id in std::mem::take(&mut self.ended) {
                self.end(id).await;
            }
            if self.ended.is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(self.world.objects("tablets").await, [], "something is left that nobody needs");
        assert!(self.world.pins.is_empty());
    }
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn tablets_that_share_sstables_stay_their_models(ops in prop::collection::vec(op(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut cluster = Cluster::new().await;
            for op in ops {
                cluster.step(op).await;
            }
            cluster.finish().await;
        });
    }
}

#[tokio::test]
async fn an_sstable_goes_only_when_its_last_referrer_has_let_go() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    write(&t, set("a", "1")).await;
    t.flush().await.unwrap();
    engine.procedures().take_snapshot("before", TabletId(9)).await.unwrap();
    write(&t, set("b", "2")).await;
    t.flush().await.unwrap();
    t.compact().await.unwrap();
    settle(&world, "tablets/9/sst", 2).await;
    engine.procedures().drop_snapshot("before", TabletId(9)).await.unwrap();
    write(&t, set("c", "3")).await;
    t.flush().await.unwrap();
    t.compact().await.unwrap();
    // What was held is asked about again with the next ones.
    settle(&world, "tablets/9/sst", 1).await;
}

/// Waits until a folder holds so many objects.
async fn settle(world: &World, folder: &str, count: usize) {
    for _ in 0..10_000 {
        if world.objects(folder).await.len() == count {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(world.objects(folder).await.len(), count);
}

#[tokio::test]
async fn a_split_needs_a_closed_parent_and_exact_parts() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    write(&t, set("a", "1")).await;
    let part = |id, a: &'static str, b: Option<&'static str>| NewTablet {
        tablet: TabletId(id),
        table: TableId(5),
        range: KeyRange::new(a, b.map(bytes)),
    };
    let split = |parts: Vec<NewTablet>| {
        let procedures = engine.procedures();
        async move { procedures.split_tablet(TabletId(9), Epoch(7), &parts).await.map_err(|e| e.kind) }
    };
    let good = vec![part(20, "", Some("m")), part(21, "m", None)];
    assert_eq!(split(good.clone()).await, Err(ErrorKind::FailedPrecondition), "it is open");
    engine.close_tablet(TabletId(9)).await.unwrap();
    assert_eq!(split(vec![part(22, "", Some("m")), part(23, "n", None)]).await, Err(ErrorKind::FailedPrecondition));
    assert_eq!(split(good.clone()).await, Ok(()));
    assert_eq!(split(good).await, Ok(()), "it can be repeated");
    let opened = engine.open_tablet(TabletOpen { range: KeyRange::new("", Some(bytes("m"))), ..id(&world, 20) }).await.unwrap();
    assert_eq!(values(&opened, Seq::MAX).await, ["a=1"]);
    assert_eq!(write(&opened, set("b", "2")).await, Seq(2), "its seqs go on");
}

fn id(world: &World, tablet: u64) -> TabletOpen {
    TabletOpen { tablet: TabletId(tablet), epoch: Epoch(8), ..world.opening() }
}

#[tokio::test]
async fn without_pins_nothing_can_be_shared() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    write(&t, set("a", "1")).await;
    t.flush().await.unwrap();
    let procedures = Procedures::new(world.store.clone(), Arc::new(NothingPinned));
    let e = procedures.take_snapshot("s", TabletId(9)).await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::FailedPrecondition);
    for name in ["", "..", "a/b", "a b"] {
        assert_eq!(procedures.take_snapshot(name, TabletId(9)).await.unwrap_err().kind, ErrorKind::InvalidArgument, "{name}");
    }
}

#[tokio::test]
async fn requests_are_remembered_by_parts_of_parts_and_by_those_whose_first_owner_died() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    let (a, z) = (|| vec![set("a", "1")], || vec![set("z", "2")]);
    let first = t.write(a(), Some([1; 16])).await.unwrap();
    let second = t.write(z(), Some([2; 16])).await.unwrap();
    engine.close_tablet(TabletId(9)).await.unwrap();
    let part = |id, a: &'static str, b: Option<&'static str>| NewTablet {
        tablet: TabletId(id),
        table: TableId(5),
        range: KeyRange::new(a, b.map(bytes)),
    };
    let procedures = engine.procedures();
    procedures.split_tablet(TabletId(9), Epoch(7), &[part(20, "", Some("m")), part(21, "m", None)]).await.unwrap();
    procedures.end_tablet(TabletId(9), Epoch(8)).await.unwrap();
    // Merged and split again before anybody had them open.
    procedures.merge_tablets([(TabletId(20), Epoch(9)), (TabletId(21), Epoch(9))], &part(22, "", None)).await.unwrap();
    procedures.split_tablet(TabletId(22), Epoch(9), &[part(23, "", Some("m")), part(24, "m", None)]).await.unwrap();
    // The server dies, and so does the log that remembers, but for those who need it.
    let engine = world.engine().await;
    let other = engine.open_tablet(TabletOpen { tablet: TabletId(30), ..world.opening() }).await.unwrap();
    write(&other, set("x", "1")).await;
    engine.sweep_for_tests().await;
    let low = TabletOpen { range: part(23, "", Some("m")).range, epoch: Epoch(10), ..opening_of(&world, 23) };
    let high = TabletOpen { range: part(24, "m", None).range, epoch: Epoch(10), ..opening_of(&world, 24) };
    let (low, high) = (engine.open_tablet(low).await.unwrap(), engine.open_tablet(high).await.unwrap());
    assert_eq!(low.write(a(), Some([1; 16])).await.unwrap(), first);
    assert_eq!(high.write(z(), Some([2; 16])).await.unwrap(), second);
    assert_eq!((values(&low, Seq::MAX).await, values(&high, Seq::MAX).await), (vec!["a=1".into()], vec!["z=2".into()]));
}
