use super::super::{FAR, Found, FoundManifest, TableStep, restore};
use super::*;
use bytes::Bytes;
use common::ids::{Epoch, ProcedureId};
use common::key::KeyRange;
use common::objects::{Referrer, SstableName};
use common::rpc::master::{Procedure, SnapshotPartView, TableSource};

const TABLET: TabletId = TabletId(1);

/// A server that serves the one tablet of `raw.a`.
fn served() -> (Cluster, ServerId) {
    let mut c = Cluster::default();
    c.raw("raw.a");
    let server = c.server();
    c.assign(TABLET, server, 1);
    c.change(Change::TabletsOpened(vec![(TABLET, Epoch(1))]));
    (c, server)
}

fn manifest(c: &Cluster, epoch: u64, server: u64, incarnation: u64) -> FoundManifest {
    let life = (ServerId(server), Incarnation(incarnation));
    FoundManifest {
        table: c.id("raw.a"),
        epoch: Epoch(epoch),
        lives: [life, life],
        log: Some(life),
        staged: Vec::new(),
        sstables: Vec::new(),
    }
}

fn after(c: &mut Cluster, found: &Found) -> super::super::Restored {
    let restored = restore(&mut c.state, found, Micros(c.at));
    invariants::check(&c.state).unwrap();
    restored
}

fn split(c: &mut Cluster) -> ProcedureId {
    let procedure = Procedure::Split { tablet: TABLET, at: Some(Bytes::from_static(b"m")) };
    let Reply::Begun { procedure } = c.command(Command::Begin { procedure }).unwrap() else { panic!() };
    c.change(Change::TabletsClosed(vec![(TABLET, Epoch(1))]));
    procedure
}

#[test]
fn everything_goes_on_above_what_the_manifests_say() {
    let (mut c, server) = served();
    // Since the copy the tablet was given to a later life, and to a server that the copy does not know.
    let mut found = Found::default();
    found.manifests.insert(TABLET, manifest(&c, 9, 7, 3));
    found.manifests.insert(TabletId(50), manifest(&c, 1, server.0, 4));
    found.logs = [(ServerId(7), Incarnation(3)), (server, Incarnation(6))].into();
    let before = c.state.version;
    let restored = after(&mut c, &found);
    assert_eq!(restored.unknown, [TabletId(50)]);
    let tablet = &c.state.tablets[&TABLET];
    assert!(tablet.epoch > Epoch(9 + FAR - 1) && tablet.owner.is_none() && !tablet.open && c.state.version > before + 1000);
    let life = super::super::Life { server: ServerId(7), incarnation: Incarnation(3), log: LogKind::Object };
    assert_eq!(
        (&tablet.logs, c.state.unfenced(c.state.tablets.values())),
        (&vec![life], vec![life]),
        "its rows lie in that log, which is ended first"
    );
    let lives: Vec<_> = c.state.servers.iter().map(|(id, s)| (id.0, s.incarnation.0, s.live)).collect();
    assert_eq!(lives, [(server.0, 6, false), (7, 3, false)]);
    assert!(c.raw("raw.b").0 > FAR);
    assert!(c.state.tablets.keys().next_back().unwrap().0 > 50 + FAR);
    let Reply::Registered { server } = c.command(Command::RegisterServer).unwrap() else { panic!() };
    assert!(server.0 > 7 + FAR);
}

#[test]
fn a_log_on_a_volume_is_waited_for_and_a_closed_tablet_needs_none() {
    let (mut c, server) = served();
    let mut found = Found::default();
    found.manifests.insert(TABLET, manifest(&c, 1, server.0, 2));
    let restored = after(&mut c, &found);
    assert_eq!(restored.on_volumes, [(TABLET, server)], "no object of it is in the store");
    let (mut c, _) = served();
    found.manifests.insert(TABLET, FoundManifest { log: None, ..manifest(&c, 1, 1, 2) });
    assert_eq!(after(&mut c, &found).on_volumes, []);
    assert!(c.state.tablets[&TABLET].logs.is_empty());
}

#[test]
fn a_split_whose_parts_have_served_is_done_and_any_other_never_was() {
    for served_since in [false, true] {
        let (mut c, _) = served();
        let id = split(&mut c);
        let parts = c.state.procedures[&id].makes.clone();
        let mut found = Found::default();
        let name = SstableName { home: TABLET, epoch: Epoch(1), number: 1 };
        for part in &parts {
            let epoch = u64::from(served_since && *part == parts[1]);
            found.manifests.insert(*part, FoundManifest { sstables: vec![name], log: None, ..manifest(&c, epoch, 1, 1) });
        }
        let restored = after(&mut c, &found);
        assert_eq!((restored.unknown, c.state.procedures.len()), (vec![], 0));
        let now: Vec<_> = c.state.tablets.keys().copied().collect();
        if served_since {
            assert_eq!(now, parts);
            assert!(c.state.ended.contains_key(&TABLET) && c.state.deletable_tablets().is_empty(), "the parts hold what it had");
            assert!(parts.iter().all(|p| c.state.tablets[p].epoch >= Epoch(FAR)));
        } else {
            assert_eq!(now, [TABLET]);
            assert!(parts.iter().all(|p| c.state.ended.contains_key(p)) && c.state.past.back().is_some_and(|p| p.error.is_some()));
        }
    }
}

#[test]
fn a_clone_whose_tablets_have_served_is_a_table_and_any_other_goes_on() {
    for served_since in [false, true] {
        let (mut c, _) = served();
        let clone = Command::CloneTable { source: TableSource::Table { table: "raw.a".into() }, name: "raw.b".into() };
        let Reply::Begun { procedure } = c.command(clone).unwrap() else { panic!() };
        let part = SnapshotPartView { tablet: TABLET, range: KeyRange::ALL, seq: Seq(3), bytes: 1 };
        c.change(Change::SnapshotPart { procedure, part });
        let make = c.state.copies[&procedure].makes()[0].tablet;
        let mut found = Found::default();
        found.manifests.insert(make, manifest(&c, u64::from(served_since), 1, 1));
        assert_eq!(after(&mut c, &found).unknown, []);
        assert_eq!(c.state.table_named("raw.b").is_some(), served_since);
        assert_eq!(c.state.copies[&procedure].is_under_way(), !served_since);
        assert_eq!(c.state.copies[&procedure].step, TableStep::Copying);
        assert_eq!(c.state.tablets.contains_key(&make), served_since);
    }
}

#[test]
fn holds_of_manifests_that_the_copy_does_not_know_count() {
    let (mut c, _) = served();
    let name = SstableName { home: TabletId(30), epoch: Epoch(2), number: 4 };
    let mut found = Found::default();
    found.manifests.insert(TABLET, FoundManifest { sstables: vec![name], ..manifest(&c, 1, 1, 1) });
    after(&mut c, &found);
    assert!(c.state.pins.hold(TabletId(30)));
    c.command(Command::NarrowPins { referrer: Referrer::Tablet(TABLET), objects: Vec::new() }).unwrap();
    assert!(!c.state.pins.hold(TabletId(30)));
}

#[test]
fn a_derived_table_is_computed_on_once_its_tablets_show_nothing_that_the_copy_lacks() {
    let (mut c, _) = served();
    c.define(vec![put("core.x", "f1", &["raw.a"])]).unwrap();
    let table = c.id("core.x");
    let (claim, run, _) = c.claim(table, windows(&[(0, 1)])).unwrap();
    let mut found = Found::default();
    let later = RunId(run.0 + 1);
    let tablet = c.state.tablets_of(table).next().unwrap().0;
    found.manifests.insert(tablet, FoundManifest { table, staged: vec![run, later], ..manifest(&c, 1, 1, 1) });
    after(&mut c, &found);
    assert!(!c.state.claims.contains_key(&claim));
    let aborted: Vec<_> = c.state.derived[&table].aborted.iter().map(|a| a.run).collect();
    assert_eq!(aborted, [run, later], "one of them was claimed after the copy");
    assert_eq!(kind(c.claim(table, windows(&[(0, 1)]))), ErrorKind::FailedPrecondition);
    c.change(Change::Verified { table, ahead: false });
    let (_, again, _) = c.claim(table, windows(&[(0, 1)])).unwrap();
    assert!(again.0 > later.0 + 1000);
    c.change(Change::Verified { table, ahead: true });
    assert!(c.state.definitions["core.x"].paused);
}
