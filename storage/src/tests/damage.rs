use super::harness::{World, delete_row, set, values, write};
use crate::Tablet;
use common::ErrorKind;
use common::ids::Seq;
use common::row::ReadSpec;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

/// A tablet with one SSTable of several blocks and deletes, closed.
async fn prepared(world: &mut World) -> Path {
    let (engine, t) = world.start().await;
    for i in 0..12 {
        write(&t, set(&format!("key{i:02}"), &format!("{i:040}"))).await;
    }
    write(&t, delete_row("key03")).await;
    t.flush().await.unwrap();
    engine.close_tablet(t.id()).await.unwrap();
    world.objects("tablets/9/sst").await.remove(0)
}

async fn read_all(t: &Tablet) -> common::Result<Vec<String>> {
    let rows: Vec<_> = t.read(ReadSpec::default(), Seq::MAX)?.try_concat().await?;
    Ok(rows.iter().map(|r| format!("{:?}={:?}", r.key, r.cells[0].value)).collect())
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_an_sstable_is_an_error_that_names_object_and_offset() {
    let mut world = World::new();
    let path = prepared(&mut world).await;
    let whole = world.store.get(&path).await.unwrap().bytes().await.unwrap();
    let (engine, _) = world.start().await;
    let context = engine.reader_for_tests();
    let name = crate::format::SstableName { home: common::ids::TabletId(9), epoch: common::ids::Epoch(1), number: 1 };
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // A plain write: fsync of thousands of files would take minutes.
        std::fs::write(world.dir.path().join("store").join(path.as_ref()), &damaged).unwrap();
        let e = scan(&context, name, whole.len() as u64).await.err().unwrap_or_else(|| panic!("bit {bit} went unnoticed"));
        assert_eq!(e.kind, ErrorKind::Corrupt, "bit {bit}: {e}");
        assert!(e.message.contains(path.as_ref()) && e.message.contains("offset"), "{e}");
    }
    assert_eq!(engine.metrics().checksum_errors as usize, whole.len() * 8);
}

/// Opens an SSTable anew and reads all of it.
async fn scan(context: &crate::sstable::ReaderContext, name: crate::format::SstableName, size: u64) -> common::Result<usize> {
    use crate::read::{Merge, Sources};
    let scan = crate::raw::Scan::all(vec![common::key::KeyRange::ALL], Seq::MAX);
    let reader = std::sync::Arc::new(crate::sstable::Reader::of_object(context.clone(), name, size));
    let sources = Sources { memtables: Vec::new(), sstables: vec![reader.clone()] };
    let mut merge = Merge::new(&sources, &std::sync::Arc::new(scan.clone()));
    let mut rows = 0;
    while let Some(row) = merge.next().await? {
        rows += 1;
        // Asks the filter too.
        reader.row(&row.key, crate::sstable::KeyHash::of_row(&row.key), &scan).await?;
    }
    reader.range_deletes().await?;
    Ok(rows)
}

#[tokio::test]
async fn a_truncated_sstable_is_damage() {
    let mut world = World::new();
    let path = prepared(&mut world).await;
    let whole = world.store.get(&path).await.unwrap().bytes().await.unwrap();
    for size in [0, 10, whole.len() / 2, whole.len() - 1] {
        world.store.put(&path, whole.slice(..size).into()).await.unwrap();
        let (_, t) = world.start().await;
        let e = read_all(&t).await.unwrap_err();
        assert!(matches!(e.kind, ErrorKind::Corrupt | ErrorKind::Unavailable), "{size}: {e}");
        assert!(e.message.contains(path.as_ref()), "{e}");
    }
    world.store.put(&path, whole.into()).await.unwrap();
    let (_, t) = world.start().await;
    assert_eq!(values(&t, Seq::MAX).await.len(), 11);
}

#[tokio::test]
async fn a_flipped_bit_in_a_manifest_is_an_error_that_names_it() {
    let mut world = World::new();
    prepared(&mut world).await;
    let path = world.objects("tablets/9/manifest").await.pop().unwrap();
    let file = world.dir.path().join("store").join(path.as_ref());
    let whole = std::fs::read(&file).unwrap();
    let engine = world.engine().await;
    for bit in (0..whole.len() * 8).step_by(7) {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&file, damaged).unwrap();
        let e = engine.open_tablet(world.opening()).await.err().unwrap();
        assert_eq!(e.kind, ErrorKind::Corrupt, "bit {bit}: {e}");
        assert!(e.message.contains(path.as_ref()), "{e}");
    }
}

#[tokio::test]
async fn a_misplaced_sstable_is_damage() {
    let mut world = World::new();
    let path = prepared(&mut world).await;
    let (_, t) = world.start().await;
    write(&t, set("x", "1")).await;
    t.flush().await.unwrap();
    let other = world.objects("tablets/9/sst").await.pop().unwrap();
    let bytes = world.store.get(&path).await.unwrap().bytes().await.unwrap();
    drop(t);
    assert_ne!(other, path);
    world.store.put(&other, bytes.into()).await.unwrap();
    let engine = world.engine().await;
    // Opening reads no SSTable.
    let t = engine.open_tablet(world.opening()).await.unwrap();
    assert_eq!(read_all(&t).await.unwrap_err().kind, ErrorKind::Corrupt);
}

#[tokio::test]
async fn damage_never_becomes_data() {
    let mut world = World::new();
    let path = prepared(&mut world).await;
    let (_, t) = world.start().await;
    let mut damaged = world.store.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
    damaged[20] ^= 1;
    world.store.put(&path, damaged.into()).await.unwrap();
    assert_eq!(read_all(&t).await.unwrap_err().kind, ErrorKind::Corrupt);
    // Compaction reads the same bytes: it must fail, and leave everything as it is.
    assert_eq!(t.compact().await.unwrap_err().kind, ErrorKind::Corrupt);
    assert!(world.objects("tablets/9/sst").await.contains(&path));
}
