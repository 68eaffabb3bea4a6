//! Ingests: rows that become SSTables past log and memtable are like rows written at one seq.

use super::harness::{World, bytes, changes, delete_row, family, ingest, read, set, set_at, values, write};
use crate::format::{Manifest, SstableRef};
use crate::manifest::ManifestStore;
use crate::procedures::NewTablet;
use crate::{Tablet, TabletOpen};
use common::ErrorKind;
use common::ids::{Epoch, Seq, TableId, TabletId};
use common::key::KeyRange;
use common::row::{Mutation, ReadSpec, RowMutation};
use common::schema::TableKind;
use std::time::Duration;

async fn manifest(world: &World) -> Manifest {
    ManifestStore::newest(world.store.clone(), TabletId(9)).await.unwrap().unwrap().1
}

async fn listed(world: &World) -> Vec<SstableRef> {
    manifest(world).await.sstables
}

/// Waits until the store holds so many SSTables of the tablet.
async fn settle(world: &World, count: usize) {
    for _ in 0..10_000 {
        if world.objects("tablets/9/sst").await.len() == count {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(world.objects("tablets/9/sst").await.len(), count);
}

/// `all:q` at timestamp 5.
fn at_5(key: &str, value: &str) -> RowMutation {
    set_at(key, "all", Some(5), value)
}

#[tokio::test]
async fn an_ingest_is_newer_than_all_before_and_older_than_all_after() {
    for flush in [false, true] {
        let mut world = World::new();
        let (_, t) = world.start().await;
        for key in ["a", "b", "c", "d"] {
            write(&t, at_5(key, "before")).await;
        }
        let mut building = t.ingest(None).await.unwrap();
        let rows = vec![at_5("a", "ingested"), at_5("b", "ingested"), delete_row("c"), at_5("e", "ingested")];
        building.add(rows).await.unwrap();
        // Numbered after the ingest began, and yet before.
        write(&t, at_5("b", "meanwhile")).await;
        let before = t.visible();
        if flush {
            t.flush().await.unwrap();
        }
        let committed = building.commit().await.unwrap();
        assert_eq!((committed.seq, t.visible()), (before.next(), before.next()), "all at one seq");
        write(&t, at_5("a", "after")).await;
        let expected = ["a=after", "b=ingested", "d=before", "e=ingested"];
        for step in 0..4 {
            assert_eq!(values(&t, Seq::MAX).await, expected, "step {step}, flushed before: {flush}");
            if step == 0 {
                assert_eq!(values(&t, before).await, ["a=before", "b=meanwhile", "c=before", "d=before"], "none of it before its seq");
                let changed: Vec<_> = changes(&t, before, committed.seq).await.into_iter().map(|c| c.key).collect();
                assert_eq!(changed, ["a", "b", "c", "e"]);
                assert_eq!(changes(&t, committed.seq, Seq::MAX).await.len(), 1);
            }
            match step {
                0 => t.flush().await.unwrap(),
                1 => t.compact().await.unwrap(),
                _ => assert_eq!(values(&world.start().await.1, Seq::MAX).await, expected),
            }
            if step >= 2 {
                break;
            }
        }
        assert!(listed(&world).await.iter().all(|s| s.given.is_none()), "merged SSTables have seqs of their own");
    }
}

#[tokio::test]
async fn what_was_ingested_is_there_after_a_crash_before_its_flush_and_after() {
    for flush in [false, true] {
        let mut world = World::new();
        let (_, t) = world.start().await;
        write(&t, set("a", "1")).await;
        let seq = ingest(&t, vec![set("b", "2"), set("c", "2")]).await;
        write(&t, set("c", "3")).await;
        if flush {
            t.flush().await.unwrap();
            let numbered = listed(&world).await.into_iter().find(|s| s.given.is_some()).unwrap();
            assert_eq!((numbered.given, numbered.seqs), (Some(seq), (seq, seq)));
        }
        // The first life goes on holding its state: the next takes over as if it had died.
        let (_, next) = world.start().await;
        assert_eq!(values(&next, Seq::MAX).await, ["a=1", "b=2", "c=3"]);
        assert_eq!(values(&next, seq).await, ["a=1", "b=2", "c=2"]);
        assert_eq!(write(&next, set("d", "4")).await, Seq(seq.0 + 2), "its seqs go on");
        // What it has not flushed it can flush no more.
        assert_eq!(t.flush().await.map_err(|e| e.kind).err(), (!flush).then_some(ErrorKind::Fenced));
    }
}

#[tokio::test]
async fn a_repeated_ingest_gets_the_first_result_also_after_recovery() {
    let mut world = World::new();
    let (_engine, t) = world.start().await;
    let id = Some([7; 16]);
    let once = |t: Tablet| async move {
        let mut building = t.ingest(id).await.unwrap();
        building.add(vec![set("a", "1")]).await.unwrap();
        building.commit().await.unwrap()
    };
    // One that began before the first was committed has written its SSTable for nothing.
    let mut second = t.ingest(id).await.unwrap();
    second.add(vec![set("a", "1")]).await.unwrap();
    let first = once(t.clone()).await;
    write(&t, set("a", "2")).await;
    assert_eq!(second.commit().await.unwrap(), first);
    assert_eq!(once(t.clone()).await, first);
    settle(&world, 1).await;
    let (_, t) = world.start().await;
    assert_eq!(once(t.clone()).await, first);
    assert_eq!(values(&t, Seq::MAX).await, ["a=2"]);
}

#[tokio::test]
async fn wrong_rows_are_refused_by_name_and_the_ingest_can_go_on() {
    let mut world = World::new();
    let engine = world.engine().await;
    let range = KeyRange::new("", Some(bytes("m")));
    let t = engine.open_tablet(TabletOpen { range, ..world.opening() }).await.unwrap();
    let mut building = t.ingest(None).await.unwrap();
    building.add(vec![set("b", "1")]).await.unwrap();
    let unknown = Mutation::Set { family: common::ids::FamilyId(77), qualifier: bytes("q"), timestamp: None, value: bytes("v") };
    let cases = [
        (vec![set("c", "1"), set("c", "2")], ErrorKind::InvalidArgument, "comes twice"),
        (vec![set("b", "2")], ErrorKind::InvalidArgument, "comes twice"),
        (vec![set("a", "1")], ErrorKind::InvalidArgument, "comes after row b\"b\""),
        (vec![set("c", "1"), set("z", "1")], ErrorKind::NotMine, "outside the tablet"),
        (vec![RowMutation { key: bytes("c"), mutations: vec![unknown] }], ErrorKind::InvalidArgument, "no family 77"),
        (vec![RowMutation { key: bytes("c"), mutations: Vec::new() }], ErrorKind::InvalidArgument, "row b\"c\""),
    ];
    for (rows, kind, text) in cases {
        let e = building.add(rows).await.unwrap_err();
        assert!(e.kind == kind && e.message.contains(text), "{e}");
    }
    building.add(vec![set("c", "3")]).await.unwrap();
    building.commit().await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await, ["b=1", "c=3"]);
    let e = t.ingest(None).await.unwrap().commit().await.unwrap_err();
    assert!(e.kind == ErrorKind::InvalidArgument && e.message.contains("without rows"), "{e}");
}

#[tokio::test]
async fn a_derived_table_takes_no_ingest() {
    let (_, t) = World::of(TableKind::Derived).start().await;
    assert_eq!(t.ingest(None).await.unwrap_err().kind, ErrorKind::FailedPrecondition);
}

#[tokio::test]
async fn an_ingest_that_is_given_up_leaves_no_objects() {
    let mut world = World::new();
    world.tune = |config| config.ingest_bytes = 0;
    let (engine, t) = world.start().await;
    let mut building = t.ingest(None).await.unwrap();
    building.add(vec![set("a", "1")]).await.unwrap();
    settle(&world, 1).await;
    drop(building);
    settle(&world, 0).await;
    assert_eq!(values(&t, Seq::MAX).await, [""; 0]);
    let mut building = t.ingest(None).await.unwrap();
    building.add(vec![set("a", "1")]).await.unwrap();
    settle(&world, 1).await;
    engine.close_tablet(t.id()).await.unwrap();
    assert_eq!(building.commit().await.unwrap_err().kind, ErrorKind::NotMine);
    settle(&world, 0).await;
    // The same owner opens it again: names that were given up are not given again.
    let given = manifest(&world).await.next_sstable;
    let t = engine.open_tablet(world.opening()).await.unwrap();
    ingest(&t, vec![set("b", "2")]).await;
    t.flush().await.unwrap();
    assert!(given > 2 && listed(&world).await[0].name.number >= given);
}

#[tokio::test]
async fn a_scrub_leaves_what_only_a_log_names() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    ingest(&t, vec![set("a", "1")]).await;
    // The next owner dies after its first step.
    let (number, found) = ManifestStore::newest(world.store.clone(), TabletId(9)).await.unwrap().unwrap();
    ManifestStore::take(world.store.clone(), number, Manifest { epoch: Epoch(2), ..found }).await.unwrap();
    assert_eq!(engine.procedures().scrub(TabletId(9)).await.unwrap(), 0);
    let engine = world.engine().await;
    let t = engine.open_tablet(TabletOpen { epoch: Epoch(3), ..world.opening() }).await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await, ["a=1"]);
    assert_eq!(engine.procedures().scrub(TabletId(9)).await.unwrap(), 0);
    assert_eq!(world.objects("tablets/9/sst").await.len(), 1);
}

#[tokio::test]
async fn parts_of_a_split_tablet_keep_the_seq_that_its_sstables_were_given() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    write(&t, set("a", "1")).await;
    let seq = ingest(&t, vec![set("a", "2"), set("x", "2")]).await;
    write(&t, set("x", "3")).await;
    t.set_pin(Some(Seq::ZERO));
    engine.close_tablet(t.id()).await.unwrap();
    let part = |id, a: &'static str, b: Option<&'static str>| NewTablet {
        tablet: TabletId(id),
        table: TableId(5),
        range: KeyRange::new(a, b.map(bytes)),
    };
    let parts = [part(20, "", Some("m")), part(21, "m", None)];
    engine.procedures().split_tablet(TabletId(9), Epoch(7), &parts).await.unwrap();
    for (part, before, after) in [(&parts[0], vec!["a=1"], vec!["a=2"]), (&parts[1], vec![], vec!["x=2"])] {
        let open = TabletOpen { tablet: part.tablet, range: part.range.clone(), epoch: Epoch(8), pin: Some(Seq::ZERO), ..world.opening() };
        let t = engine.open_tablet(open).await.unwrap();
        assert_eq!(
            (values(&t, Seq(1)).await, values(&t, seq).await),
            (before.iter().map(|s| (*s).to_owned()).collect(), after.iter().map(|s| (*s).to_owned()).collect())
        );
        assert_eq!(changes(&t, Seq(1), seq).await.len(), 1);
    }
}

#[tokio::test]
async fn families_of_different_ages_and_times_of_different_slices_lie_in_different_sstables() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    let row = |key: &str, hour: i64| {
        let set = |family_name: &str, at: i64| Mutation::Set {
            family: family(family_name),
            qualifier: bytes("q"),
            timestamp: Some(common::time::Micros(at)),
            value: bytes("v"),
        };
        RowMutation { key: bytes(key), mutations: vec![set("all", 1), set("young", 1_000_000_000 + hour * 3_600_000_000)] }
    };
    ingest(&t, vec![row("a", 0), row("b", 1), row("c", 0)]).await;
    t.flush().await.unwrap();
    let mut slices: Vec<_> = listed(&world).await.iter().map(|s| (s.slice.max_age, s.slice.slice.is_some(), s.rows)).collect();
    slices.sort_unstable();
    assert_eq!(slices, [(0, false, 3), (10, true, 1), (10, true, 2)]);
    // Ten seconds and what clocks may differ later one of them goes whole.
    world.clock.advance(Duration::from_secs(700));
    t.inner_for_tests().compact_as_chosen_for_tests().await.unwrap();
    assert_eq!(listed(&world).await.len(), 2);
    assert_eq!(read(&t, ReadSpec::default(), Seq::MAX).await.len(), 3);
}

#[tokio::test]
async fn an_ingest_that_may_hold_nothing_makes_more_sstables_of_the_same_rows() {
    let mut world = World::new();
    world.tune = |config| config.ingest_bytes = 0;
    let (_, t) = world.start().await;
    let mut building = t.ingest(None).await.unwrap();
    let keys: Vec<_> = (0..1000).map(|n| format!("{n:04}")).collect();
    building.add(keys.iter().map(|key| set(key, "v")).collect()).await.unwrap();
    building.commit().await.unwrap();
    t.flush().await.unwrap();
    assert_eq!(listed(&world).await.len(), 4, "one each 256 rows");
    assert_eq!(values(&t, Seq::MAX).await.len(), 1000);
    t.compact().await.unwrap();
    assert_eq!((t.stats().sstables, values(&t, Seq::MAX).await.len()), (1, 1000));
}

#[tokio::test]
async fn conditional_writes_see_an_ingest_in_flight() {
    use common::conditional::{Modify, ModifyRule, ReadModifyWrite};
    let mut world = World::new();
    let (_, t) = world.start().await;
    let append = |text: &'static str| {
        let rule = ModifyRule { family: family("all"), qualifier: bytes("q"), modify: Modify::Append(bytes(text)) };
        ReadModifyWrite { key: bytes("a"), rules: vec![rule], timestamp: None }
    };
    for round in 0..20 {
        let mut building = t.ingest(None).await.unwrap();
        building.add(vec![set("a", "i")]).await.unwrap();
        let before = t.visible();
        let (landed, modified) = futures::future::join(building.commit(), async {
            while t.inner_for_tests().numbered_for_tests() == before {
                tokio::task::yield_now().await;
            }
            t.read_modify_write(append("m"), None).await.unwrap()
        })
        .await;
        let above = modified.committed.seq > landed.unwrap().seq;
        assert!(above && modified.row.cells[0].value == "im", "round {round}: {modified:?}");
    }
}
