use super::super::{catalog, desired};
use super::*;
use common::config::LogKind;
use common::rpc::master::InputProgress;
use common::version::VersionMap;

fn opened(c: &mut Cluster, tablet: TabletId) {
    let epoch = c.state.tablets[&tablet].epoch;
    c.change(Change::TabletsOpened(vec![(tablet, epoch)]));
}

#[test]
fn a_higher_incarnation_ends_all_lower_ones() {
    let mut c = Cluster { log: LogKind::Disk, ..Cluster::default() };
    c.raw("raw.a");
    let (server, tablet) = (c.server(), TabletId(1));
    c.assign(tablet, server, 1);
    opened(&mut c, tablet);
    assert!(c.state.tablets[&tablet].open);
    c.start(server, 2);
    assert_eq!((c.state.tablets[&tablet].owner, c.state.tablets[&tablet].open), (None, false));
    c.assign(tablet, server, 1);
    assert_eq!(c.state.tablets[&tablet].owner, None, "a life that is over gets nothing");
    c.assign(tablet, server, 2);
    assert_eq!(c.state.tablets[&tablet].epoch, common::ids::Epoch(2));
    let again = Change::ServerStarted { server, incarnation: Incarnation(2), address: "x".into(), log: LogKind::Disk };
    assert_eq!(kind(c.run(What::Change(again))), ErrorKind::Fenced);
    c.change(Change::ServerDead { server, incarnation: Incarnation(1) });
    assert!(c.state.servers[&server].live, "an old death does not touch a new life");
}

#[test]
fn a_tablet_with_a_log_waits_for_its_server() {
    let mut c = Cluster { log: LogKind::Disk, ..Cluster::default() };
    c.raw("raw.a");
    let (home, other, tablet) = (c.server(), c.server(), TabletId(1));
    c.assign(tablet, home, 1);
    c.change(Change::ServerDead { server: home, incarnation: Incarnation(1) });
    assert_eq!(catalog(&c.state).servers.keys().copied().collect::<Vec<_>>(), [other]);
    c.assign(tablet, other, 1);
    assert_eq!(c.state.tablets[&tablet].owner, None);
    c.start(home, 2);
    c.assign(tablet, home, 2);
    assert_eq!(c.state.tablets[&tablet].owner, Some((home, Incarnation(2))));
}

#[test]
fn a_tablet_goes_on_elsewhere_once_its_log_is_ended() {
    let mut c = Cluster::default();
    c.raw("raw.a");
    let (lost, other, tablet) = (c.server(), c.server(), TabletId(1));
    c.assign(tablet, lost, 1);
    assert!(c.state.unfenced(c.state.tablets.values()).is_empty());
    c.change(Change::ServerDead { server: lost, incarnation: Incarnation(1) });
    let due: Vec<_> = c.state.unfenced(c.state.tablets.values()).iter().map(|l| (l.server, l.incarnation)).collect();
    assert_eq!(due, [(lost, Incarnation(1))]);
    c.assign(tablet, other, 1);
    assert_eq!(c.state.tablets[&tablet].owner, None, "its log may still grow");
    let fenced = |position| Change::LogFenced { server: lost, incarnation: Incarnation(1), position };
    c.change(fenced(7));
    c.change(fenced(9));
    assert!(c.state.unfenced(c.state.tablets.values()).is_empty());
    c.assign(tablet, other, 1);
    assert_eq!(c.state.tablets[&tablet].owner, Some((other, Incarnation(1))));
    assert_eq!(desired(&c.state, other, Incarnation(1))[0].fences, [(lost, Incarnation(1), 7)]);
    // It dies before it has opened the tablet: the manifest may name either log.
    c.change(Change::ServerDead { server: other, incarnation: Incarnation(1) });
    c.start(lost, 2);
    c.assign(tablet, lost, 2);
    assert_eq!(c.state.tablets[&tablet].owner, None);
    c.change(Change::LogFenced { server: other, incarnation: Incarnation(1), position: 1 });
    c.assign(tablet, lost, 2);
    assert_eq!(desired(&c.state, lost, Incarnation(2))[0].fences.len(), 2);
    opened(&mut c, tablet);
    assert!(c.state.fences.is_empty() && desired(&c.state, lost, Incarnation(2))[0].fences.is_empty());
}

#[test]
fn a_late_word_about_an_older_epoch_does_nothing() {
    let mut c = Cluster::default();
    c.raw("raw.a");
    let (server, tablet) = (c.server(), TabletId(1));
    c.assign(tablet, server, 1);
    let old = c.state.tablets[&tablet].epoch;
    c.assign(tablet, server, 1);
    c.change(Change::TabletsOpened(vec![(tablet, old)]));
    assert!(!c.state.tablets[&tablet].open);
    let stale = Assignment { tablet, epoch: old, server, incarnation: Incarnation(1) };
    let before = c.state.clone();
    c.change(Change::Assign(vec![stale]));
    assert_eq!(c.state, before);
}

#[test]
fn orders_name_table_pin_runs_and_aborted_runs() {
    let mut c = Cluster::default();
    let raw = c.raw("raw.a");
    c.define(vec![put("core.b", "f1", &["raw.a"])]).unwrap();
    let (server, derived) = (c.server(), c.id("core.b"));
    let tablets: Vec<_> = c.state.tablets.keys().copied().collect();
    tablets.iter().for_each(|t| c.assign(*t, server, 1));
    let inputs = vec![InputProgress { input: raw, cursor: VersionMap::whole(Seq(7)), newly_dirty: RangeSet::empty() }];
    let (claim, run, _) = c.claim(derived, windows(&[(0, 1)])).unwrap();
    c.publish(Publish { inputs, ..publish(claim, &[(0, 1)]) }).unwrap();
    let (given_up, aborted, _) = c.claim(derived, windows(&[(0, 1)])).unwrap();
    c.command(Command::Abandon { claim: given_up, record: None }).unwrap();
    let list = desired(&c.state, server, Incarnation(1));
    let of = |id: TableId| list.iter().find(|d| d.table == id).unwrap();
    assert_eq!(of(raw).pin, Some(Seq(7)));
    assert_eq!((of(derived).pin, &of(derived).runs, &of(derived).aborted), (None, &vec![(run, Seq(1))], &vec![aborted]));
    assert!(desired(&c.state, server, Incarnation(2)).is_empty());
    c.claim(derived, windows(&[(0, 1)])).unwrap();
    let list = desired(&c.state, server, Incarnation(1));
    assert_eq!(list.iter().find(|d| d.table == derived).unwrap().pin, Some(Seq(1)), "a live claim's base is pinned");
}
