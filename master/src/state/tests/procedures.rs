use super::super::{Step, desired};
use super::*;
use bytes::Bytes;
use common::ids::{Epoch, ProcedureId};
use common::key::KeyRange;
use common::objects::{Referrer, SstableName};
use common::rpc::master::Procedure;

const TABLET: TabletId = TabletId(1);

/// Two servers, the first of which serves the one tablet of a table.
fn served() -> (Cluster, ServerId, ServerId) {
    let mut c = Cluster::default();
    c.raw("raw.a");
    let (a, b) = (c.server(), c.server());
    c.assign(TABLET, a, 1);
    open(&mut c, TABLET);
    (c, a, b)
}

fn open(c: &mut Cluster, tablet: TabletId) {
    let epoch = c.state.tablets[&tablet].epoch;
    c.change(Change::TabletsOpened(vec![(tablet, epoch)]));
}

fn close(c: &mut Cluster, tablet: TabletId) {
    let epoch = c.state.tablets[&tablet].epoch;
    c.change(Change::TabletsClosed(vec![(tablet, epoch)]));
}

fn begin(c: &mut Cluster, procedure: Procedure) -> Result<ProcedureId> {
    c.command(Command::Begin { procedure }).map(|reply| match reply {
        Reply::Begun { procedure } => procedure,
        other => panic!("{other:?}"),
    })
}

fn owner(c: &Cluster, tablet: TabletId) -> Option<ServerId> {
    c.state.tablets[&tablet].owner.map(|(server, _)| server)
}

fn ranges(c: &Cluster) -> Vec<(u64, KeyRange)> {
    c.state.tablets.iter().map(|(id, t)| (id.0, t.range.clone())).collect()
}

#[test]
fn a_moved_tablet_leaves_its_owners_orders_and_goes_on_at_the_target_once_closed() {
    let (mut c, a, b) = served();
    let id = begin(&mut c, Procedure::Move { tablet: TABLET, to: Some(b) }).unwrap();
    assert!(desired(&c.state, a, Incarnation(1)).is_empty(), "it is to be closed");
    assert_eq!(owner(&c, TABLET), Some(a), "until it says so it is its owner's");
    c.change(Change::TabletsClosed(vec![(TABLET, Epoch(7))]));
    assert_eq!(owner(&c, TABLET), Some(a), "a word about another epoch");
    close(&mut c, TABLET);
    assert_eq!((owner(&c, TABLET), c.state.tablets[&TABLET].epoch), (Some(b), Epoch(2)));
    assert_eq!(desired(&c.state, b, Incarnation(1)).len(), 1);
    assert_eq!(c.state.past.back().map(|p| (p.id, p.error.clone())), Some((id, None)));
}

#[test]
fn what_a_server_takes_to_its_grave_ends_the_procedure_and_not_the_tablet() {
    for procedure in [
        Procedure::Move { tablet: TABLET, to: None },
        Procedure::Split { tablet: TABLET, at: Some(Bytes::from_static(b"m")) },
        Procedure::Split { tablet: TABLET, at: None },
    ] {
        let (mut c, a, b) = served();
        begin(&mut c, procedure).unwrap();
        c.change(Change::ServerDead { server: a, incarnation: Incarnation(1) });
        assert!(c.state.procedures.is_empty() && c.state.past.back().is_some_and(|p| p.error.is_some()));
        c.change(Change::LogFenced { server: a, incarnation: Incarnation(1), position: 3 });
        c.assign(TABLET, b, 1);
        assert_eq!(owner(&c, TABLET), Some(b));
    }
}

#[test]
fn a_split_tablet_is_replaced_by_its_parts_at_once() {
    let (mut c, a, _) = served();
    let id = begin(&mut c, Procedure::Split { tablet: TABLET, at: None }).unwrap();
    assert!(desired(&c.state, a, Incarnation(1))[0].split.is_some(), "the owner is asked for a key, and serves");
    c.change(Change::SplitChosen { procedure: id, at: Some(Bytes::from_static(b"m")) });
    assert!(desired(&c.state, a, Incarnation(1)).is_empty());
    close(&mut c, TABLET);
    assert_eq!((c.state.procedures[&id].step, c.state.tablets[&TABLET].epoch), (Step::Deriving, Epoch(2)));
    c.assign(TABLET, a, 1);
    assert_eq!(owner(&c, TABLET), None, "nobody gets a tablet that is being cut");
    c.change(Change::Derived { procedure: id });
    let m = Bytes::from_static(b"m");
    assert_eq!(ranges(&c), [(2, KeyRange::new("", Some(m.clone()))), (3, KeyRange::new(m, None))]);
    assert_eq!((owner(&c, TabletId(2)), owner(&c, TabletId(3))), (Some(a), Some(a)), "where the cache is warm");
    assert_eq!(c.state.ended[&TABLET].epoch, Epoch(3));
}

#[test]
fn an_ended_tablet_is_deleted_once_nobody_has_or_holds_it() {
    let (mut c, _, _) = served();
    let id = begin(&mut c, Procedure::Split { tablet: TABLET, at: Some(Bytes::from_static(b"m")) }).unwrap();
    close(&mut c, TABLET);
    let (child, name) = (Referrer::Tablet(TabletId(2)), SstableName { home: TABLET, epoch: Epoch(1), number: 1 });
    c.command(Command::PinHome { home: TABLET, referrer: child.clone() }).unwrap();
    c.change(Change::Derived { procedure: id });
    assert!(c.state.deletable_tablets().is_empty());
    c.command(Command::NarrowPins { referrer: child.clone(), objects: vec![name] }).unwrap();
    assert!(c.state.deletable_tablets().is_empty());
    assert_eq!(c.state.deletable(TABLET, Epoch(3), &[name]).unwrap(), [], "a part holds it");
    c.command(Command::ReleasePins { referrer: child, objects: vec![name] }).unwrap();
    assert_eq!(c.state.deletable_tablets(), [(TABLET, Epoch(3))]);
    assert_eq!(c.state.deletable(TABLET, Epoch(3), &[name]).unwrap(), [name]);
    assert_eq!(kind(c.state.deletable(TABLET, Epoch(1), &[name])), ErrorKind::Fenced, "an earlier owner does not decide");
    c.change(Change::TabletEnded(TABLET));
    assert_eq!(kind(c.state.deletable(TABLET, Epoch(3), &[name])), ErrorKind::Fenced);
}

#[test]
fn a_dropped_tables_tablets_are_deleted_once_their_server_has_closed_them() {
    let (mut c, a, _) = served();
    c.command(Command::DropTable { name: "raw.a".into() }).unwrap();
    assert!(c.state.tablets.is_empty() && c.state.deletable_tablets().is_empty());
    c.change(Change::TabletsClosed(vec![(TABLET, Epoch(1))]));
    assert_eq!(c.state.deletable_tablets(), [(TABLET, Epoch(2))]);
    let (mut c, a) = (served().0, a);
    c.command(Command::DropTable { name: "raw.a".into() }).unwrap();
    c.change(Change::ServerDead { server: a, incarnation: Incarnation(1) });
    assert_eq!(c.state.deletable_tablets(), [(TABLET, Epoch(2))]);
}

#[test]
fn neighbours_are_merged_and_a_failed_merge_leaves_them_as_they_were() {
    let (mut c, a, b) = served();
    let id = begin(&mut c, Procedure::Split { tablet: TABLET, at: Some(Bytes::from_static(b"m")) }).unwrap();
    close(&mut c, TABLET);
    c.change(Change::Derived { procedure: id });
    let [lower, upper] = [TabletId(2), TabletId(3)];
    open(&mut c, lower);
    let refused = begin(&mut c, Procedure::Merge { tablets: [lower, upper] });
    assert_eq!(kind(refused), ErrorKind::FailedPrecondition, "both must be served");
    open(&mut c, upper);
    assert_eq!(kind(begin(&mut c, Procedure::Merge { tablets: [upper, lower] })), ErrorKind::InvalidArgument);
    for outcome in [false, true] {
        let id = begin(&mut c, Procedure::Merge { tablets: [lower, upper] }).unwrap();
        close(&mut c, lower);
        assert_eq!(c.state.procedures[&id].step, Step::Closing);
        close(&mut c, upper);
        assert_eq!(c.state.procedures[&id].step, Step::Deriving);
        if outcome {
            c.change(Change::Derived { procedure: id });
            assert_eq!(ranges(&c), [(5, KeyRange::ALL)]);
        } else {
            c.change(Change::DeriveFailed { procedure: id, error: "staged rows".into() });
            assert_eq!(ranges(&c).len(), 2);
            assert_eq!(c.state.ended[&TabletId(4)].epoch, Epoch(1), "what may have been made of it is taken away");
            for (tablet, server) in [(lower, a), (upper, b)] {
                c.assign(tablet, server, 1);
                open(&mut c, tablet);
            }
        }
    }
}

#[test]
fn procedures_that_make_no_sense_are_refused_with_the_reason() {
    let (mut c, a, b) = served();
    let key = |k: &'static str| Some(Bytes::from_static(k.as_bytes()));
    let mut refused = |procedure| kind(begin(&mut c, procedure));
    assert_eq!(refused(Procedure::Move { tablet: TabletId(9), to: None }), ErrorKind::NotFound);
    assert_eq!(refused(Procedure::Move { tablet: TABLET, to: Some(a) }), ErrorKind::InvalidArgument);
    assert_eq!(refused(Procedure::Move { tablet: TABLET, to: Some(ServerId(9)) }), ErrorKind::NotFound);
    assert_eq!(refused(Procedure::Split { tablet: TABLET, at: key("") }), ErrorKind::InvalidArgument);
    c.command(Command::Drain { server: b, drain: true }).unwrap();
    assert_eq!(kind(begin(&mut c, Procedure::Move { tablet: TABLET, to: Some(b) })), ErrorKind::FailedPrecondition);
    let id = begin(&mut c, Procedure::Split { tablet: TABLET, at: key("m") }).unwrap();
    assert_eq!(kind(begin(&mut c, Procedure::Split { tablet: TABLET, at: key("m") })), ErrorKind::FailedPrecondition, "one at a time");
    c.command(Command::Cancel { procedure: id }).unwrap();
    assert_eq!(desired(&c.state, a, Incarnation(1)).len(), 1, "it stays where it is");
    assert_eq!(kind(c.command(Command::Cancel { procedure: id })), ErrorKind::NotFound);
}

#[test]
fn a_tablet_that_logs_to_its_servers_disk_stays_there() {
    let mut c = Cluster { log: LogKind::Disk, ..Cluster::default() };
    c.raw("raw.a");
    let (a, b) = (c.server(), c.server());
    c.assign(TABLET, a, 1);
    open(&mut c, TABLET);
    assert_eq!(kind(begin(&mut c, Procedure::Move { tablet: TABLET, to: Some(b) })), ErrorKind::FailedPrecondition);
}
