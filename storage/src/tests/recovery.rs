use super::harness::{World, delete_row, set, values, write};
use common::ErrorKind;
use common::ids::{Epoch, Seq};
use common::store::DurableLocal;
use futures::TryStreamExt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// The files of the first life's log, oldest first.
fn segments(world: &World) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(world.log_dir().join("log/1/1")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn who_dies_before_the_last_step_of_recovery_has_changed_nothing() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    write(&tablet, set("a", "1")).await;
    tablet.flush().await.unwrap();
    write(&tablet, set("b", "2")).await;
    // A life that takes the manifest and dies: its own log is empty, the next must still read the first.
    let mut manifest = crate::manifest::ManifestStore::newest(world.store.clone(), tablet.id()).await.unwrap().unwrap();
    let _engine = world.engine().await;
    manifest.1.epoch = world.epoch();
    manifest.1.owner.incarnation = common::ids::Incarnation(2);
    crate::manifest::ManifestStore::take(world.store.clone(), manifest.0, manifest.1).await.unwrap();
    let (_, tablet) = world.start().await;
    assert_eq!(values(&tablet, Seq::MAX).await, ["a=1", "b=2"]);
}

#[tokio::test]
async fn a_torn_tail_was_never_acknowledged_and_is_cut() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    write(&tablet, set("a", "1")).await;
    let file = segments(&world).pop().unwrap();
    let acknowledged = fs::read(&file).unwrap().len();
    write(&tablet, set("b", "2")).await;
    let whole = fs::read(&file).unwrap();
    let epoch_one = world.store.clone();
    drop(tablet);
    for cut in [acknowledged, acknowledged + 1, acknowledged + 31, acknowledged + 40, whole.len() - 1] {
        let mut torn = whole[..cut].to_vec();
        torn.resize(torn.len() + cut % 3, 0);
        fs::write(&file, torn).unwrap();
        assert_eq!(first_log(&world).await.unwrap().len(), 1, "cut at {cut}");
    }
    drop(epoch_one);
    let (_, tablet) = world.start().await;
    assert_eq!(values(&tablet, Seq::MAX).await, ["a=1"]);
    assert_eq!(write(&tablet, set("c", "3")).await, Seq(2));
}

/// What the first life has logged of the tablet.
async fn first_log(world: &World) -> common::Result<Vec<crate::format::LogRecord>> {
    let log = crate::format::LogName { server: common::ids::ServerId(1), incarnation: common::ids::Incarnation(1) };
    let store = Arc::new(DurableLocal::open(&world.log_dir()).unwrap());
    let reader = Arc::new(crate::log::LogReader::files(store, log).await?);
    reader.records((common::ids::TabletId(9), Epoch(1))).map_ok(|(_, record)| record).try_collect().await
}

#[tokio::test]
async fn damage_in_the_log_is_an_error_that_names_file_and_offset() {
    let mut world = World::new();
    let (engine, tablet) = world.start().await;
    for key in ["a", "b", "c"] {
        write(&tablet, set(key, "1")).await;
    }
    let file = segments(&world).pop().unwrap();
    let groups = fs::read(&file).unwrap();
    let records = first_log(&world).await.unwrap();
    engine.shutdown().await.unwrap();
    let whole = fs::read(&file).unwrap();
    assert_eq!((records.len(), first_log(&world).await.unwrap()), (3, records.clone()));
    let mut found = 0;
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, damaged).unwrap();
        match first_log(&world).await {
            // Frames are not read where an index tells the place of each record, and a footer that is none makes the
            // reader go by the frames: either way the records are the same.
            Ok(read) => assert!(read == records && bit / 8 < whole.len(), "bit {bit}"),
            Err(e) => {
                found += 1;
                assert_eq!(e.kind, ErrorKind::Corrupt, "bit {bit}: {e}");
                assert!(e.message.contains("offset") && e.message.contains("00000000000000000001"), "{e}");
            }
        }
    }
    let stored: usize = records.iter().map(|r| r.encode().unwrap().len()).sum();
    assert!(found >= stored * 8, "every bit of a record counts: {found}");
    // Without an end the frames are read, and every bit of them counts but for those of the last: a torn tail.
    let last = groups.windows(4).rposition(|w| w == b"STLG").unwrap();
    for bit in 0..last * 8 {
        let mut damaged = groups.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, damaged).unwrap();
        let e = first_log(&world).await.unwrap_err();
        assert_eq!(e.kind, ErrorKind::Corrupt, "bit {bit}: {e}");
        assert!(e.message.contains("offset") && e.message.contains("00000000000000000001"), "{e}");
    }
    fs::write(&file, whole).unwrap();
    let (_, tablet) = world.start().await;
    assert_eq!(tablet.visible(), Seq(3));
}

#[tokio::test]
async fn a_missing_segment_is_damage() {
    let mut world = World::new();
    world.tune = |config| config.log_segment_bytes = 1;
    let (_, tablet) = world.start().await;
    for key in ["a", "b", "c"] {
        write(&tablet, set(key, "1")).await;
    }
    let files = segments(&world);
    assert!(files.len() >= 3, "{files:?}");
    for lost in &files[..files.len() - 1] {
        let kept = fs::read(lost).unwrap();
        fs::remove_file(lost).unwrap();
        let engine = world.engine().await;
        let e = engine.open_tablet(world.opening()).await.unwrap_err();
        assert_eq!(e.kind, ErrorKind::Corrupt, "segment {}: {e}", lost.display());
        fs::write(lost, kept).unwrap();
    }
    let (_, tablet) = world.start().await;
    assert_eq!(values(&tablet, Seq::MAX).await, ["a=1", "b=1", "c=1"]);
}

#[tokio::test]
async fn the_log_is_trimmed_upward_and_never_past_what_is_not_flushed() {
    let mut world = World::new();
    world.tune = |config| config.log_segment_bytes = 1;
    let (engine, tablet) = world.start().await;
    let needed = |t: &crate::Tablet| t.inner_for_tests().log_from();
    for key in ["a", "b", "c", "d"] {
        write(&tablet, set(key, "1")).await;
    }
    assert_eq!(needed(&tablet), 1, "nothing is flushed");
    tablet.flush().await.unwrap();
    let from = needed(&tablet);
    assert!(from > 1);
    engine.trim_for_tests(from).await;
    assert_eq!(segments(&world).len() as u64, from, "young segments hold request ids");
    world.clock.advance(std::time::Duration::from_secs(61));
    engine.trim_for_tests(from).await;
    assert_eq!(segments(&world).len(), 1, "the newest stays");
    write(&tablet, delete_row("a")).await;
    let (_, tablet) = world.start().await;
    assert_eq!(values(&tablet, Seq::MAX).await, ["b=1", "c=1", "d=1"]);
}

#[tokio::test]
async fn a_dead_log_goes_when_no_manifest_names_it() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    write(&tablet, set("a", "1")).await;
    let engine = world.engine().await;
    engine.sweep_for_tests().await;
    assert_eq!(segments(&world).len(), 1, "the tablet is not recovered yet");
    engine.open_tablet(world.opening()).await.unwrap();
    engine.sweep_for_tests().await;
    assert!(!world.log_dir().join("log/1/1").exists());
}

#[tokio::test]
async fn a_fenced_owner_stops_at_once() {
    let mut world = World::new();
    let (_, old) = world.start().await;
    write(&old, set("a", "1")).await;
    let (_, new) = world.start().await;
    // It does not know yet: what it still acknowledges after the fence nobody reads, and its flush finds out.
    write(&old, set("b", "2")).await;
    assert_eq!(old.flush().await.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(old.write(vec![set("c", "3")], None).await.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(old.read(common::row::ReadSpec::default(), Seq::MAX).err().unwrap().kind, ErrorKind::Fenced);
    assert_eq!(values(&new, Seq::MAX).await, ["a=1"]);
}

#[tokio::test]
async fn a_second_owner_of_one_epoch_is_refused() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    let engine = world.engine().await;
    for (epoch, refusal) in [(0, ErrorKind::InvalidArgument), (1, ErrorKind::Fenced)] {
        let mut opening = world.opening();
        opening.epoch = Epoch(epoch);
        assert_eq!(engine.open_tablet(opening).await.unwrap_err().kind, refusal);
    }
    write(&tablet, set("a", "1")).await;
}

#[tokio::test]
async fn a_closed_tablet_is_flushed_and_opens_again_in_the_same_life() {
    let mut world = World::new();
    let (engine, tablet) = world.start().await;
    write(&tablet, set("a", "1")).await;
    let request = vec![set("b", "2")];
    let first = tablet.write(request.clone(), Some([1; 16])).await.unwrap();
    engine.close_tablet(tablet.id()).await.unwrap();
    engine.close_tablet(tablet.id()).await.unwrap();
    assert_eq!(tablet.write(vec![set("c", "3")], None).await.unwrap_err().kind, ErrorKind::NotMine);
    let mut opening = world.opening();
    opening.epoch = Epoch(20);
    let tablet = engine.open_tablet(opening).await.unwrap();
    assert_eq!((tablet.stats().memtable_bytes, tablet.stats().sstables), (0, 1));
    assert_eq!(tablet.write(request, Some([1; 16])).await.unwrap(), first);
    assert_eq!(values(&tablet, Seq::MAX).await, ["a=1", "b=2"]);
}
