use super::super::{TableStep, desired, object_name};
use super::*;
use bytes::Bytes;
use common::ids::{Epoch, ProcedureId};
use common::key::KeyRange;
use common::objects::{Referrer, SstableName};
use common::rpc::master::{BackupContents, BackupPart, Procedure, Schedule, SnapshotPartView, SnapshotStage, TableSource};
use std::time::Duration;

const SECOND: i64 = 1_000_000;

/// A server that serves the two tablets of `raw.a`, cut at user `m`.
fn served() -> (Cluster, ServerId) {
    let mut c = Cluster::default();
    let spec = TableSpec { split_at: vec![vec!["m".into()]], ..spec("raw.a") };
    c.command(Command::CreateTable { spec }).unwrap();
    let server = c.server();
    for tablet in [1, 2] {
        c.assign(TabletId(tablet), server, 1);
    }
    open_all(&mut c);
    (c, server)
}

fn open_all(c: &mut Cluster) {
    let all = c.state.tablets.iter().filter(|(_, t)| t.owner.is_some()).map(|(id, t)| (*id, t.epoch)).collect();
    c.change(Change::TabletsOpened(all));
}

fn begun(c: &mut Cluster, command: Command) -> Result<ProcedureId> {
    c.command(command).map(|reply| match reply {
        Reply::Begun { procedure } => procedure,
        other => panic!("{other:?}"),
    })
}

fn take(c: &mut Cluster, name: &str) -> Result<ProcedureId> {
    begun(c, Command::TakeSnapshot { table: "raw.a".into(), name: name.into(), expires_after: None })
}

fn part(c: &mut Cluster, procedure: ProcedureId, tablet: TabletId) {
    let range = c.state.tablets[&tablet].range.clone();
    c.change(Change::SnapshotPart { procedure, part: SnapshotPartView { tablet, range, seq: Seq(tablet.0), bytes: 1 } });
}

fn parts(c: &mut Cluster, procedure: ProcedureId, table: &str) {
    let table = c.id(table);
    for tablet in c.state.tablets_of(table).map(|(id, _)| id).collect::<Vec<_>>() {
        part(c, procedure, tablet);
    }
}

/// A snapshot that can be used.
fn snapshot(c: &mut Cluster, name: &str) -> ProcedureId {
    let id = take(c, name).unwrap();
    parts(c, id, "raw.a");
    c.change(Change::TableDone { procedure: id });
    assert_eq!(c.state.snapshots[&id].stage, SnapshotStage::Ready);
    id
}

fn of_snapshot(name: &str) -> TableSource {
    TableSource::Snapshot { table: "raw.a".into(), snapshot: name.into() }
}

fn clone(c: &mut Cluster, source: TableSource, name: &str) -> Result<ProcedureId> {
    begun(c, Command::CloneTable { source, name: name.into() })
}

fn shown(c: &Cluster, id: ProcedureId) -> Vec<(u64, KeyRange)> {
    c.state.snapshots[&id].parts.iter().map(|p| (p.tablet.0, p.range.clone())).collect()
}

#[test]
fn a_snapshot_is_taken_of_every_key_once_while_tablets_split_and_merge() {
    let (mut c, server) = served();
    let id = take(&mut c, "s").unwrap();
    assert_eq!(take(&mut c, "s"), Ok(id), "the one that is under way");
    let asked: Vec<_> = desired(&c.state, server, Incarnation(1)).iter().map(|d| d.flush).collect();
    assert_eq!(asked, [Some(id), Some(id)]);
    part(&mut c, id, TabletId(1));
    let asked: Vec<_> = desired(&c.state, server, Incarnation(1)).iter().map(|d| d.flush).collect();
    assert_eq!(asked, [None, Some(id)], "only who is missing is asked");
    // The tablet that is there joins one that is not.
    let Reply::Begun { procedure } =
        c.command(Command::Begin { procedure: Procedure::Merge { tablets: [TabletId(1), TabletId(2)] } }).unwrap()
    else {
        panic!()
    };
    c.change(Change::TabletsClosed(vec![(TabletId(1), Epoch(1)), (TabletId(2), Epoch(1))]));
    c.change(Change::Derived { procedure });
    open_all(&mut c);
    let merged = *c.state.tablets.keys().next().unwrap();
    let old = SnapshotPartView { tablet: TabletId(2), range: KeyRange::ALL, seq: Seq(1), bytes: 1 };
    c.change(Change::SnapshotPart { procedure: id, part: old });
    assert_eq!(shown(&c, id).len(), 1, "an ended tablet's manifest may have been emptied before it was read");
    part(&mut c, id, merged);
    let m = c.state.snapshots[&id].parts[0].range.end.clone().unwrap();
    assert_eq!(shown(&c, id), [(1, KeyRange::new("", Some(m.clone()))), (merged.0, KeyRange::new(m, None))]);
    assert_eq!((c.state.copies[&id].step, c.state.snapshots[&id].stage), (TableStep::Copying, SnapshotStage::Taking));
    c.change(Change::TableDone { procedure: id });
    assert_eq!(c.state.snapshots[&id].stage, SnapshotStage::Ready);
    assert_eq!(kind(take(&mut c, "s")), ErrorKind::AlreadyExists);
}

#[test]
fn missing_keys_are_what_no_part_shows() {
    let (mut c, _) = served();
    let id = take(&mut c, "s").unwrap();
    let range = |start: &'static str, end: Option<&'static str>| KeyRange::new(start, end.map(|e| Bytes::from_static(e.as_bytes())));
    let snapshot = Arc::make_mut(c.state.snapshots.get_mut(&id).unwrap());
    for (start, end) in [("c", Some("f")), ("k", Some("m")), ("x", None)] {
        snapshot.parts.push(SnapshotPartView { tablet: TabletId(1), range: range(start, end), seq: Seq(1), bytes: 1 });
    }
    assert_eq!(snapshot.missing(&KeyRange::ALL), [range("", Some("c")), range("f", Some("k")), range("m", Some("x"))]);
    assert_eq!(snapshot.missing(&range("d", Some("l"))), [range("f", Some("k"))]);
    assert_eq!(snapshot.missing(&range("d", Some("e"))), []);
    assert_eq!(snapshot.missing(&range("a", Some("b"))), [range("a", Some("b"))]);
    assert_eq!(snapshot.missing(&range("y", None)), []);
}

#[test]
fn a_clone_appears_whole_under_new_ids_with_the_same_columns_and_outlives_its_source() {
    let (mut c, _) = served();
    c.command(Command::SetWatermark { name: "raw.a".into(), at: Micros(77) }).unwrap();
    let id = clone(&mut c, TableSource::Table { table: "raw.a".into() }, "raw.b").unwrap();
    assert_eq!(clone(&mut c, TableSource::Table { table: "raw.a".into() }, "raw.b"), Ok(id));
    assert_eq!(kind(c.command(Command::CreateTable { spec: spec("raw.b") })), ErrorKind::AlreadyExists, "its name is taken");
    assert_eq!(kind(clone(&mut c, TableSource::Table { table: "raw.a".into() }, "raw.a")), ErrorKind::AlreadyExists);
    parts(&mut c, id, "raw.a");
    assert!(c.state.table_named("raw.b").is_none(), "nothing of it is seen before it is whole");
    assert!(c.state.snapshot_views().is_empty(), "its snapshot has no name");
    c.change(Change::TableDone { procedure: id });
    let (old, new) = (c.state.table_named("raw.a").unwrap().clone(), c.state.table_named("raw.b").unwrap().clone());
    assert!(new.id > old.id && new.columns == old.columns && new.families == old.families && new.key == old.key);
    let ranges = |table| c.state.tablets_of(table).map(|(_, t)| t.range.clone()).collect::<Vec<_>>();
    assert_eq!(ranges(new.id), ranges(old.id));
    assert_eq!(c.state.watermarks[&new.id], Micros(77));
    assert_eq!(c.state.snapshots[&id].stage, SnapshotStage::Dropping, "what was needed for it only goes");
    c.change(Change::SnapshotGone(id));
    c.command(Command::DropTable { name: "raw.a".into() }).unwrap();
    assert!(c.state.snapshots.is_empty() && c.state.table_named("raw.b").is_some());
}

#[test]
fn a_snapshot_outlives_its_table_and_is_kept_while_something_is_made_of_it() {
    let (mut c, _) = served();
    snapshot(&mut c, "s");
    c.command(Command::DropTable { name: "raw.a".into() }).unwrap();
    let id = clone(&mut c, of_snapshot("s"), "raw.a").unwrap();
    let dropping = || Command::DropSnapshot { table: "raw.a".into(), name: "s".into() };
    let refused = c.command(dropping()).unwrap_err();
    assert!(refused.kind == ErrorKind::FailedPrecondition && refused.message.contains(&format!("procedure {id}")), "{refused}");
    c.change(Change::TableDone { procedure: id });
    assert!(c.state.table_named("raw.a").is_some());
    c.command(dropping()).unwrap();
    assert_eq!(kind(c.command(dropping())), ErrorKind::NotFound);
    assert_eq!(kind(clone(&mut c, of_snapshot("s"), "raw.c")), ErrorKind::NotFound);
}

#[test]
fn a_snapshots_holds_last_until_its_objects_are_deleted_and_none_are_given_afterwards() {
    let (mut c, _) = served();
    let id = take(&mut c, "s").unwrap();
    let referrer = Referrer::Snapshot { name: object_name(id), tablet: TabletId(1) };
    let (home, name) = (TabletId(1), SstableName { home: TabletId(1), epoch: Epoch(1), number: 1 });
    let pin = || Command::PinHome { home, referrer: referrer.clone() };
    c.command(pin()).unwrap();
    assert_eq!(c.state.deletable(home, Epoch(1), &[name]), Ok(vec![]));
    c.command(Command::NarrowPins { referrer: referrer.clone(), objects: vec![name] }).unwrap();
    parts(&mut c, id, "raw.a");
    c.change(Change::TableDone { procedure: id });
    c.command(Command::DropSnapshot { table: "raw.a".into(), name: "s".into() }).unwrap();
    assert_eq!(c.state.deletable(home, Epoch(1), &[name]), Ok(vec![]), "somebody may still read its manifest");
    assert_eq!(kind(c.command(pin())), ErrorKind::FailedPrecondition, "a late step of its taking");
    c.change(Change::SnapshotGone(id));
    assert_eq!(c.state.deletable(home, Epoch(1), &[name]), Ok(vec![name]));
    assert_eq!(kind(c.command(pin())), ErrorKind::FailedPrecondition);
}

#[test]
fn what_fails_or_is_cancelled_leaves_its_tablets_to_be_deleted_and_its_name_free() {
    let (mut c, _) = served();
    snapshot(&mut c, "s");
    let id = clone(&mut c, of_snapshot("s"), "raw.b").unwrap();
    let makes: Vec<_> = c.state.copies[&id].makes().iter().map(|p| p.tablet).collect();
    assert_eq!(makes.len(), 2);
    c.change(Change::TableFailed { procedure: id, error: "e".into() });
    assert!(makes.iter().all(|t| c.state.ended.contains_key(t)));
    c.change(Change::TableDone { procedure: id });
    assert!(c.state.table_named("raw.b").is_none(), "a late word of an earlier attempt");
    let id = clone(&mut c, TableSource::Table { table: "raw.a".into() }, "raw.b").unwrap();
    c.command(Command::Cancel { procedure: id }).unwrap();
    assert_eq!(kind(c.command(Command::Cancel { procedure: id })), ErrorKind::NotFound);
    assert_eq!(c.state.snapshots[&id].stage, SnapshotStage::Dropping);
    c.raw("raw.b");
    let id = take(&mut c, "t").unwrap();
    c.command(Command::DropTable { name: "raw.a".into() }).unwrap();
    assert!(c.state.copies[&id].error.as_ref().is_some_and(|e| e.contains("dropped")));
}

#[test]
fn a_restored_table_has_the_backups_shape_and_a_place_takes_one_backup_at_a_time() {
    let (mut c, _) = served();
    snapshot(&mut c, "s");
    let location = "file:///b".to_owned();
    let backup = || Command::BackupTable { source: of_snapshot("s"), location: location.clone() };
    let id = begun(&mut c, backup()).unwrap();
    assert_eq!(begun(&mut c, backup()), Ok(id));
    let other = Command::BackupTable { source: TableSource::Table { table: "raw.a".into() }, location: location.clone() };
    assert_eq!(kind(begun(&mut c, other)), ErrorKind::FailedPrecondition);
    c.change(Change::TableDone { procedure: id });
    let table = c.state.table_named("raw.a").unwrap().as_ref().clone();
    let part = |tablet, range| BackupPart { tablet: TabletId(tablet), range, seq: Seq(4) };
    let m = Bytes::from_static(b"m");
    let parts = vec![part(1, KeyRange::new("", Some(m.clone()))), part(2, KeyRange::new(m, None))];
    let contents = Some(Box::new(BackupContents { backup: "c-4".into(), table, watermark: None, parts }));
    let restore = |name: &str| Command::RestoreTable { location: location.clone(), name: name.into(), contents: contents.clone() };
    let id = begun(&mut c, restore("raw.r")).unwrap();
    assert_eq!(begun(&mut c, restore("raw.r")), Ok(id));
    assert_eq!(kind(begun(&mut c, restore("system.r"))), ErrorKind::InvalidArgument);
    c.change(Change::TableDone { procedure: id });
    let (old, new) = (c.state.table_named("raw.a").unwrap(), c.state.table_named("raw.r").unwrap());
    assert_eq!((&new.columns, &new.families, c.state.tablets_of(new.id).count()), (&old.columns, &old.families, 2));
}

#[test]
fn the_newest_snapshot_that_shows_nothing_later_is_chosen() {
    let (mut c, _) = served();
    let first = snapshot(&mut c, "first");
    let between = Micros(c.at);
    let second = snapshot(&mut c, "second");
    let at = |at| TableSource::At { table: "raw.a".into(), at };
    let chosen = |c: &mut Cluster, at, name: &str| clone(c, at, name).map(|id| c.state.copies[&id].snapshot(id).unwrap());
    assert_eq!(chosen(&mut c, at(between), "raw.b"), Ok(first));
    let now = Micros(c.at);
    assert_eq!(chosen(&mut c, at(now), "raw.c"), Ok(second));
    assert_eq!(kind(chosen(&mut c, at(Micros(0)), "raw.d")), ErrorKind::NotFound);
}

#[test]
fn a_schedule_takes_and_keeps_as_many_as_it_says() {
    let (mut c, _) = served();
    let schedule = Some(Schedule { every: 10, keep: 2 });
    c.command(Command::ScheduleSnapshots { table: "raw.a".into(), schedule }).unwrap();
    let zero = Some(Schedule { every: 0, keep: 2 });
    assert_eq!(kind(c.command(Command::ScheduleSnapshots { table: "raw.a".into(), schedule: zero })), ErrorKind::InvalidArgument);
    snapshot(&mut c, "by-hand");
    let mut taken = Vec::new();
    for n in 0..4 {
        assert_eq!(c.state.due_snapshots(Micros(c.at)), ["raw.a"], "round {n}");
        c.change(Change::TakeSnapshot { table: "raw.a".into(), name: format!("n{n}") });
        assert!(c.state.due_snapshots(Micros::MAX).is_empty(), "one at a time");
        let id = *c.state.snapshots.keys().next_back().unwrap();
        parts(&mut c, id, "raw.a");
        c.change(Change::TableDone { procedure: id });
        assert!(c.state.due_snapshots(Micros(c.at)).is_empty());
        let outlived = c.state.outlived_snapshots(Micros(c.at));
        assert_eq!(outlived, if n < 2 { vec![] } else { vec![taken[n - 2]] }, "what was taken by hand stays");
        c.change(Change::OutlivedSnapshots(outlived));
        taken.push(id);
        c.at += 10 * SECOND;
    }
    c.command(Command::DropTable { name: "raw.a".into() }).unwrap();
    assert!(c.state.schedules.is_empty());
    let end = Micros(c.at).after(Duration::from_secs(20));
    assert_eq!(c.state.outlived_snapshots(end.before(Duration::from_secs(1))), []);
    assert_eq!(c.state.outlived_snapshots(end), taken[2..], "they live as long as they would have");
}

#[test]
fn a_snapshot_expires_unless_something_is_being_made_of_it() {
    let (mut c, _) = served();
    let id = begun(&mut c, Command::TakeSnapshot { table: "raw.a".into(), name: "s".into(), expires_after: Some(5) }).unwrap();
    parts(&mut c, id, "raw.a");
    assert_eq!(c.state.outlived_snapshots(Micros::MAX), [], "not while it is being taken");
    c.change(Change::TableDone { procedure: id });
    assert_eq!((c.state.outlived_snapshots(Micros(c.at)), c.state.outlived_snapshots(Micros::MAX)), (vec![], vec![id]));
    clone(&mut c, of_snapshot("s"), "raw.b").unwrap();
    assert_eq!(c.state.outlived_snapshots(Micros::MAX), []);
    c.change(Change::OutlivedSnapshots(vec![id]));
    assert_eq!(c.state.snapshots[&id].stage, SnapshotStage::Ready, "the clone began before the entry came");
}

#[test]
fn a_protected_table_stays_until_that_is_switched_off() {
    let (mut c, _) = served();
    let protect = |name: &str, protected| Command::ProtectTable { name: name.into(), protected };
    let dropping = || Command::DropTable { name: "raw.a".into() };
    c.command(protect("raw.a", true)).unwrap();
    let refused = c.command(dropping()).unwrap_err();
    assert!(refused.kind == ErrorKind::FailedPrecondition && refused.message.contains("stele admin unprotect raw.a"), "{refused}");
    c.define(vec![put("core.x", "f", &["raw.a"])]).unwrap();
    c.command(protect("core.x", true)).unwrap();
    let undefine = || Command::ApplyDefinitions { create: Vec::new(), put: Vec::new(), remove: vec!["core.x".into()], base: None };
    assert_eq!(kind(c.command(undefine())), ErrorKind::FailedPrecondition);
    let other = PutDefinition { spec: TableSpec { append_only: true, ..spec("core.x") }, ..put("core.x", "f", &["raw.a"]) };
    assert_eq!(kind(c.define(vec![other])), ErrorKind::FailedPrecondition, "its table would be made anew");
    c.command(protect("core.x", false)).unwrap();
    c.command(undefine()).unwrap();
    c.command(protect("raw.a", false)).unwrap();
    c.command(dropping()).unwrap();
    assert!(c.state.protected.is_empty());
    assert_eq!(kind(c.command(protect("raw.a", true))), ErrorKind::NotFound);
}

#[test]
fn only_raw_tables_are_snapshotted() {
    let (mut c, _) = served();
    c.change(Change::CreateSystemTables);
    c.define(vec![put("core.x", "f", &["raw.a"])]).unwrap();
    for (table, wrong) in [("core.x", "definition"), ("system.runs", "Stele")] {
        let e = begun(&mut c, Command::TakeSnapshot { table: table.into(), name: "s".into(), expires_after: None }).unwrap_err();
        assert!(e.kind == ErrorKind::FailedPrecondition && e.message.contains(wrong), "{e}");
    }
    assert_eq!(kind(take(&mut c, "a b")), ErrorKind::InvalidArgument);
    assert_eq!(
        kind(begun(&mut c, Command::TakeSnapshot { table: "raw.x".into(), name: "s".into(), expires_after: None })),
        ErrorKind::NotFound
    );
}
