use super::*;
use common::rpc::master::InputProgress;
use common::version::VersionMap;

fn one() -> (Cluster, TableId) {
    let mut c = Cluster::default();
    c.raw("raw.a");
    c.define(vec![put("core.b", "f1", &["raw.a"])]).unwrap();
    let id = c.id("core.b");
    (c, id)
}

fn progress(c: &Cluster, cursor: u64, newly_dirty: &[(i64, i64)]) -> Vec<InputProgress> {
    vec![InputProgress { input: c.id("raw.a"), cursor: VersionMap::whole(Seq(cursor)), newly_dirty: windows(newly_dirty) }]
}

#[test]
fn overlapping_windows_are_claimed_once() {
    let (mut c, id) = one();
    let (first, _, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    assert_eq!(kind(c.claim(id, windows(&[(9, 12)]))), ErrorKind::FailedPrecondition);
    c.claim(id, windows(&[(10, 20)])).unwrap();
    let whole = |fingerprint: &str| Command::Claim {
        table: id,
        fingerprint: fingerprint.into(),
        windows: RangeSet::empty(),
        whole: true,
        runner: "r".into(),
    };
    assert_eq!(kind(c.command(whole("f1"))), ErrorKind::FailedPrecondition);
    assert_eq!(kind(c.command(whole("f0"))), ErrorKind::FailedPrecondition);
    assert_eq!(kind(c.claim(id, RangeSet::empty())), ErrorKind::InvalidArgument);
    c.command(Command::Abandon { claim: first, record: None }).unwrap();
    c.claim(id, windows(&[(0, 10)])).unwrap();
}

#[test]
fn a_publish_after_its_claim_has_expired_is_refused_and_the_run_is_aborted() {
    let (mut c, id) = one();
    let (claim, run, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    c.change(Change::ExpireClaims(vec![claim]));
    assert_eq!(c.state.derived[&id].aborted.iter().map(|a| a.run).collect::<Vec<_>>(), [run]);
    assert_eq!(kind(c.publish(publish(claim, &[(0, 10)]))), ErrorKind::FailedPrecondition);
}

#[test]
fn a_paused_runner_that_wakes_changes_nothing() {
    let (mut c, id) = one();
    let (asleep, _, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    c.change(Change::ExpireClaims(vec![asleep]));
    let (claim, _, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    assert_eq!(c.publish(publish(claim, &[(0, 10)])).unwrap(), Seq(1));
    let before = c.state.clone();
    assert_eq!(kind(c.publish(publish(asleep, &[(0, 10)]))), ErrorKind::FailedPrecondition);
    assert_eq!(c.state, before);
}

#[test]
fn own_windows_published_after_the_base_refuse_a_run() {
    let (mut c, id) = one();
    let (claim, _, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    let (other, _, _) = c.claim(id, windows(&[(10, 20)])).unwrap();
    c.publish(publish(other, &[(10, 20)])).unwrap();
    assert_eq!(c.state.derived[&id].since_base, [(windows(&[(10, 20)]), Seq(1))]);
    let mut stale = c.state.clone();
    if let Some(d) = stale.derived.get_mut(&id) {
        d.since_base.push((windows(&[(5, 6)]), Seq(1)));
    }
    let entry = Entry { at: Micros(99), what: What::Command(AsJson(Command::Publish(Box::new(publish(claim, &[(0, 10)]))))) };
    assert_eq!(kind(apply(&mut stale, &entry)), ErrorKind::FailedPrecondition);
    assert_eq!(c.publish(publish(claim, &[(0, 10)])).unwrap(), Seq(2), "others' windows do not count");
    assert!(c.state.derived[&id].since_base.is_empty(), "kept for live claims only");
}

#[test]
fn windows_outside_the_claim_are_refused() {
    let (mut c, id) = one();
    let (claim, _, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    assert_eq!(kind(c.publish(publish(claim, &[(5, 11)]))), ErrorKind::InvalidArgument);
}

#[test]
fn an_unchanged_run_gives_no_version_but_moves_the_books() {
    let (mut c, id) = one();
    let (claim, run, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    let inputs = progress(&c, 7, &[]);
    assert_eq!(c.publish(Publish { changed: false, inputs, ..publish(claim, &[(0, 10)]) }).unwrap(), Seq::ZERO);
    let d = &c.state.derived[&id];
    assert_eq!((d.version, d.runs.len(), &d.windows), (Seq::ZERO, 0, &windows(&[(0, 10)])));
    assert_eq!(d.inputs[0].cursor, VersionMap::whole(Seq(7)));
    assert_eq!((c.state.outbox[0].run, c.state.outbox[0].status.as_str()), (run, "unchanged"));
}

#[test]
fn dirty_loses_the_windows_computed_and_gains_the_newly_dirty() {
    let (mut c, id) = one();
    let mark = Command::MoveCursors { table: id, fingerprint: "f1".into(), inputs: progress(&c, 3, &[(0, 30)]) };
    c.command(mark.clone()).unwrap();
    assert_eq!(c.state.derived[&id].inputs[0].dirty, windows(&[(0, 30)]));
    c.command(Command::MarkDirty { name: "core.b".into(), windows: windows(&[(5, 15)]) }).unwrap();
    let (claim, _, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    let inputs = progress(&c, 9, &[(8, 9), (40, 50)]);
    c.publish(Publish { complete: windows(&[(0, 5)]), inputs, ..publish(claim, &[(0, 10)]) }).unwrap();
    let d = &c.state.derived[&id];
    assert_eq!(d.inputs[0].dirty, windows(&[(8, 9), (10, 30), (40, 50)]));
    assert_eq!((&d.windows, &d.complete, &d.forced), (&windows(&[(0, 10)]), &windows(&[(0, 5)]), &windows(&[(10, 15)])));
    let stale = Command::MoveCursors { table: id, fingerprint: "f0".into(), inputs: Vec::new() };
    assert_eq!(kind(c.command(stale)), ErrorKind::FailedPrecondition);
}

#[test]
fn a_cursor_is_taken_as_given_so_that_what_its_run_has_not_seen_is_looked_at_again() {
    let (mut c, id) = one();
    let (slow, _, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    let move_on = Command::MoveCursors { table: id, fingerprint: "f1".into(), inputs: progress(&c, 9, &[(0, 10)]) };
    c.command(move_on).unwrap();
    let inputs = progress(&c, 5, &[]);
    c.publish(Publish { inputs, ..publish(slow, &[(0, 10)]) }).unwrap();
    let followed = &c.state.derived[&id].inputs[0];
    assert_eq!((followed.cursor.single(), followed.dirty.is_empty()), (Some(Seq(5)), true));
}

#[test]
fn a_published_run_is_kept_until_every_tablet_has_applied_it() {
    let (mut c, id) = one();
    let mut runs = Vec::new();
    for window in [(0, 10), (10, 20)] {
        let (claim, run, base) = c.claim(id, windows(&[window])).unwrap();
        let version = c.publish(publish(claim, &[window])).unwrap();
        assert_eq!(version, base.next());
        runs.push((run, version));
    }
    assert_eq!(c.state.derived[&id].runs, runs);
    c.change(Change::Settled { table: id, applied: Seq(1), dropped: Vec::new() });
    assert_eq!(c.state.derived[&id].runs, runs[1..]);
}

#[test]
fn an_abandoned_run_is_logged_once_also_after_its_claim_expired() {
    let (mut c, id) = one();
    let (claim, run, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    let record = || Some(Box::new(RunRecord { run, status: "failed".into(), ..RunRecord::default() }));
    c.change(Change::ExpireClaims(vec![claim]));
    for _ in 0..2 {
        c.command(Command::Abandon { claim, record: record() }).unwrap();
    }
    assert_eq!(c.state.outbox.len(), 1);
    c.command(Command::ClearRunRecords { runs: vec![run] }).unwrap();
    assert!(c.state.outbox.is_empty());
    let never = Some(Box::new(RunRecord { run: RunId(99), ..RunRecord::default() }));
    assert_eq!(kind(c.command(Command::Abandon { claim, record: never })), ErrorKind::InvalidArgument);
}

#[test]
fn a_published_run_cannot_be_called_failed_afterwards() {
    let (mut c, id) = one();
    let (claim, run, _) = c.claim(id, windows(&[(0, 10)])).unwrap();
    c.publish(publish(claim, &[(0, 10)])).unwrap();
    let record = Some(Box::new(RunRecord { run, status: "failed".into(), ..RunRecord::default() }));
    c.command(Command::Abandon { claim, record }).unwrap();
    assert_eq!(c.state.outbox.iter().map(|r| r.status.as_str()).collect::<Vec<_>>(), ["published"]);
    assert!(c.state.derived[&id].aborted.is_empty());
}
