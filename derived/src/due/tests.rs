use super::*;
use crate::testing::{EVENTS, USERS, compiled};
use common::catalog::{Definition, FollowedInput, Published};
use common::ids::Seq;
use common::schema::{Table, TableKind, TableSpec};
use common::version::VersionMap;
use std::time::Duration;

const EVENTS_ID: TableId = TableId(1);

/// A cluster in memory, whose facts a test changes.
struct World {
    now: Micros,
    catalog: Catalog,
    artifacts: BTreeMap<String, Arc<Artifact>>,
    earliest: BTreeMap<TableId, Micros>,
    pending: BTreeMap<(TableId, TableId), RangeSet>,
    failures: Vec<Failure>,
    last_run: BTreeMap<TableId, Micros>,
    idle: BTreeMap<TableId, Micros>,
    max_windows: usize,
}

fn at(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}

/// `[from, to)` in days of January 2026.
fn days(from: u32, to: u32) -> RangeSet {
    RangeSet::of(at(&format!("2026-01-{from:02}")), at(&format!("2026-01-{to:02}")))
}

/// One definition a name: `name`, SQL, more keys.
fn world(tables: &[(&str, &str, &str)]) -> World {
    let yaml = |(name, sql, more): &(&str, &str, &str)| (format!("derived/{name}.yaml"), format!("name: g.{name}\n{more}\nsql: {sql}\n"));
    let files: Vec<_> = tables.iter().map(yaml).collect();
    let found = compiled(&files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect::<Vec<_>>());
    assert_eq!(found.problems().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    let mut catalog = Catalog::default();
    let raw = |id: u64, text: &str| {
        Table::create(TableId(id), TableKind::Raw, serde_yaml_ng::from_str::<TableSpec>(text).unwrap()).unwrap().into()
    };
    catalog.tables = [raw(1, EVENTS), raw(2, USERS)].into_iter().collect();
    for (i, (name, ..)) in tables.iter().enumerate() {
        let artifact = found.artifacts().find(|a| a.name == format!("g.{name}")).unwrap();
        catalog.tables.insert(Table::create(TableId(10 + i as u64), TableKind::Derived, artifact.spec.clone()).unwrap().into());
    }
    World {
        now: at("2026-01-03T12:00:00Z"),
        catalog,
        artifacts: found.artifacts().map(|a| (a.name.clone(), Arc::new(a.clone()))).collect(),
        earliest: BTreeMap::from([(EVENTS_ID, at("2026-01-01T05:00:00Z"))]),
        pending: BTreeMap::new(),
        failures: Vec::new(),
        last_run: BTreeMap::new(),
        idle: BTreeMap::new(),
        max_windows: 100,
    }
}

impl World {
    fn decide(&self, name: &str) -> Decision {
        decide(&self.facts()).into_iter().find(|d| d.table == format!("g.{name}")).unwrap()
    }

    /// The windows that run now, as one set.
    fn runs(&self, name: &str) -> RangeSet {
        self.decide(name).runs.iter().map(|r| r.range.unwrap_or((Micros::MIN, Micros::MAX))).collect()
    }

    fn id(&self, name: &str) -> TableId {
        self.catalog.table(&format!("g.{name}")).unwrap().id
    }

    /// A table has published these windows, of which these are complete.
    fn publish(&mut self, name: &str, windows: RangeSet, complete: RangeSet) -> &mut Published {
        let table = self.id(name);
        let none = RangeSet::empty;
        let (forced, claimed) = (none(), none());
        let published = Published {
            table,
            version: Seq(1),
            published_at: Micros(0),
            windows,
            complete,
            forced,
            inputs: Vec::new(),
            claimed,
            runs: Vec::new(),
        };
        self.catalog.published.insert(table, Arc::new(published));
        self.published(table)
    }

    fn published(&mut self, table: TableId) -> &mut Published {
        Arc::make_mut(self.catalog.published.get_mut(&table).unwrap())
    }

    fn change(&mut self, name: &str, input: TableId, windows: RangeSet) {
        self.pending.insert((self.id(name), input), windows);
    }

    fn fail(&mut self, name: &str, windows: RangeSet, attempts: u32) {
        let table = self.id(name);
        self.failures.push(Failure { table, windows, attempts, at: self.now, error: "division by zero".into() });
    }

    fn pause(&mut self, name: &str) {
        let table = self.id(name);
        let text = String::new;
        let definition =
            Definition { name: format!("g.{name}"), table, document: text(), fingerprint: text(), paused: true, applied_at: Micros(0) };
        self.catalog.definitions.insert(definition.name.clone(), Arc::new(definition));
    }
}

const DAILY: &str = "key: {partition: [day], unique: [day]}\nwindow: {every: day}\ntime_column: day";
const WHOLE: &str = "key: {partition: [day]}";
const FROM_EVENTS: &str = "select at::date as day, count(*) as n from raw.events group by 1";
const FROM_A: &str = "select day, max(n) as n from g.a group by 1";
const FROM_BOTH: &str = "select a.day, count(*) as n from g.a a join raw.events e on e.at::date = a.day group by 1";

fn daily() -> World {
    world(&[("a", FROM_EVENTS, DAILY)])
}

#[test]
fn a_window_runs_when_its_inputs_are_complete_and_no_sooner() {
    let mut w = daily();
    w.now = at("2026-01-03T00:59:00Z");
    assert_eq!(w.runs("a"), days(1, 2));
    let wait = &w.decide("a").waits[0];
    assert_eq!((wait.windows.clone(), wait.why.as_str()), (days(2, 3), "raw.events is not complete up to its end yet"));
    w.now = at("2026-01-03T01:00:00Z");
    let decision = w.decide("a");
    assert_eq!((w.runs("a"), decision.start), (days(1, 3), Some(at("2026-01-01"))));
    let run = &decision.runs[0];
    assert!(run.complete && run.reason == "first build" && !run.whole && run.mixed_with.is_empty());
}

#[test]
fn a_watermark_that_the_loader_set_counts_instead_of_the_clock() {
    let mut w = daily();
    w.catalog.watermarks.insert(EVENTS_ID, at("2026-01-02"));
    w.now = at("2026-02-01");
    assert_eq!(w.runs("a"), days(1, 2));
}

#[test]
fn while_a_bulk_ingest_is_open_windowed_readers_wait_unless_eager() {
    let mut w = world(&[("a", FROM_EVENTS, DAILY), ("b", FROM_EVENTS, &format!("{DAILY}\neager: true"))]);
    w.catalog.ingesting.insert(EVENTS_ID);
    assert_eq!(w.runs("a"), RangeSet::empty());
    assert_eq!(w.runs("b"), days(1, 4));
    assert!(w.decide("b").runs.iter().all(|r| !r.complete));
}

#[test]
fn eager_windows_run_early_at_most_every_min_interval_and_again_when_complete() {
    let mut w = world(&[("a", FROM_EVENTS, &format!("{DAILY}\neager: true\nmin_interval: 10m"))]);
    w.publish("a", days(1, 4), days(1, 3));
    assert_eq!(w.runs("a"), RangeSet::empty(), "nothing changed");
    w.change("a", EVENTS_ID, days(3, 4));
    assert_eq!(w.runs("a"), days(3, 4));
    w.last_run.insert(w.id("a"), w.now.before(Duration::from_secs(60)));
    assert_eq!(w.runs("a"), RangeSet::empty());
    assert!(w.decide("a").waits[0].why.contains("rests until 2026-01-03T12:09:00Z"));
    w.pending.clear();
    w.now = at("2026-01-04T01:00:00Z");
    w.last_run.insert(w.id("a"), w.now);
    let run = w.decide("a").runs.into_iter().find(|r| r.complete).unwrap();
    assert_eq!(run.range, Some((at("2026-01-03"), at("2026-01-04"))));
}

#[test]
fn windows_that_begin_after_now_never_run() {
    let mut w = world(&[("a", FROM_EVENTS, &format!("{DAILY}\neager: true"))]);
    w.change("a", EVENTS_ID, days(20, 25));
    assert_eq!(w.runs("a"), days(1, 4));
}

#[test]
fn nothing_before_start_runs_and_without_rows_nothing_does() {
    let mut w = world(&[("a", FROM_EVENTS, &format!("{DAILY}\nstart: 2026-01-02")), ("b", FROM_EVENTS, DAILY)]);
    assert_eq!(w.runs("a"), days(2, 3));
    w.earliest.clear();
    assert_eq!((w.runs("b"), w.decide("b").start), (RangeSet::empty(), None));
}

#[test]
fn late_data_repairs_its_window_at_most_every_repair_interval() {
    let mut w = world(&[("a", FROM_EVENTS, &format!("{DAILY}\nrepair_interval: 5m"))]);
    w.publish("a", days(1, 3), days(1, 3));
    assert_eq!(w.decide("a").watermark, Some(at("2026-01-03")));
    assert_eq!(w.runs("a"), RangeSet::empty());
    w.change("a", EVENTS_ID, days(1, 2));
    assert_eq!(w.decide("a").runs[0].reason, "late data");
    assert_eq!(w.runs("a"), days(1, 2));
    w.last_run.insert(w.id("a"), w.now.before(Duration::from_secs(60)));
    assert_eq!(w.runs("a"), RangeSet::empty());
}

#[test]
fn changes_that_were_followed_earlier_are_as_due_as_new_ones() {
    let mut w = daily();
    let inputs = vec![FollowedInput { input: EVENTS_ID, cursor: VersionMap::default(), dirty: days(2, 3) }];
    w.publish("a", days(1, 3), days(1, 3)).inputs = inputs;
    assert_eq!(w.runs("a"), days(2, 3));
}

#[test]
fn a_window_marked_by_force_runs() {
    let mut w = daily();
    w.publish("a", days(1, 3), days(1, 3)).forced = days(2, 3);
    let decision = w.decide("a");
    assert_eq!((w.runs("a"), decision.runs[0].reason), (days(2, 3), "backfill"));
    let a = w.id("a");
    w.published(a).forced = days(1, 3);
    assert_eq!(w.decide("a").runs[0].reason, "changed definition");
}

#[test]
fn a_window_is_never_in_two_runs_at_once() {
    let mut w = daily();
    w.publish("a", RangeSet::empty(), RangeSet::empty()).claimed = days(1, 2);
    assert_eq!(w.runs("a"), days(2, 3));
    assert_eq!(w.decide("a").due, days(1, 3));
}

#[test]
fn a_window_waits_while_an_ancestor_has_a_due_window_that_reaches_it() {
    let mut w = world(&[("a", FROM_EVENTS, DAILY), ("b", FROM_BOTH, DAILY), ("c", "select day, n from g.b", WHOLE)]);
    for name in ["a", "b"] {
        w.publish(name, days(1, 3), days(1, 3));
    }
    w.publish("c", RangeSet::all(), RangeSet::all());
    w.change("a", EVENTS_ID, days(1, 2));
    w.change("b", EVENTS_ID, days(1, 3));
    let b = w.decide("b");
    assert_eq!((w.runs("a"), w.runs("b")), (days(1, 2), days(2, 3)));
    assert_eq!((b.waits[0].windows.clone(), b.waits[0].why.as_str()), (days(1, 2), "g.a has due windows that reach it"));
    w.change("c", w.id("b"), RangeSet::all());
    assert!(w.decide("c").runs.is_empty() && w.decide("c").waits[0].why.starts_with("g.b"));
    w.pending.retain(|(table, _), _| *table == TableId(12));
    assert_eq!(w.runs("c"), RangeSet::all());
}

#[test]
fn a_stuck_ancestor_is_not_waited_for_and_named() {
    for stuck in ["failed", "paused", "resting"] {
        let more = format!("{DAILY}\nrepair_interval: 1h");
        let mut w = world(&[("a", FROM_EVENTS, &more), ("b", FROM_BOTH, DAILY)]);
        for name in ["a", "b"] {
            w.publish(name, days(1, 3), days(1, 3));
        }
        w.change("a", EVENTS_ID, days(1, 2));
        w.change("b", EVENTS_ID, days(1, 3));
        match stuck {
            "failed" => w.fail("a", days(1, 2), 9),
            "paused" => w.pause("a"),
            _ => drop(w.last_run.insert(w.id("a"), w.now)),
        }
        assert_eq!(w.runs("a"), RangeSet::empty(), "{stuck}");
        let runs = w.decide("b").runs;
        let mixed: Vec<_> = runs.iter().map(|r| (r.range.unwrap().0, r.mixed_with.clone(), r.complete)).collect();
        assert!(mixed.contains(&(at("2026-01-01"), vec!["g.a".into()], false)), "{stuck}: {mixed:?}");
        assert!(mixed.contains(&(at("2026-01-02"), vec![], true)), "{stuck}: {mixed:?}");
    }
}

#[test]
fn a_mixed_window_does_not_run_again_before_something_changes() {
    let mut w = world(&[("a", FROM_EVENTS, DAILY), ("b", FROM_BOTH, DAILY)]);
    w.publish("a", days(1, 3), days(1, 3));
    w.publish("b", days(1, 3), days(2, 3));
    w.change("a", EVENTS_ID, days(1, 2));
    w.pause("a");
    assert_eq!(w.runs("b"), RangeSet::empty());
    w.catalog.definitions.clear();
    w.pending.clear();
    assert_eq!(w.runs("b"), days(1, 2), "once nothing stale is left, it runs to be complete");
}

#[test]
fn a_failed_window_that_was_never_published_holds_only_what_it_reaches() {
    let mut w = world(&[("a", FROM_EVENTS, DAILY), ("b", FROM_A, DAILY)]);
    w.publish("a", days(2, 3), days(2, 3));
    w.fail("a", days(1, 2), 9);
    assert_eq!(w.runs("b"), days(2, 3));
    assert!(w.decide("a").waits[0].why.contains("division by zero"));
    assert_eq!(w.decide("a").watermark, Some(at("2026-01-01")), "the gap-free part ends before it");
}

#[test]
fn a_failed_window_is_tried_again_after_a_while() {
    let mut w = daily();
    w.fail("a", days(1, 2), 2);
    assert_eq!(w.runs("a"), days(2, 3));
    w.now = w.now.after(Duration::from_secs(2));
    assert_eq!(w.runs("a"), days(1, 3));
}

#[test]
fn a_derived_input_is_complete_window_by_window_and_before_its_start() {
    let lagged = "select (day + interval '1 day')::date as day, n from g.a";
    let mut w = world(&[("a", FROM_EVENTS, DAILY), ("b", lagged, DAILY)]);
    w.publish("a", days(1, 3), days(2, 3));
    w.fail("a", days(1, 2), 9);
    assert_eq!(w.decide("b").start, Some(at("2026-01-02")));
    assert_eq!(w.runs("b"), days(3, 4), "the 2nd reads the 1st, which is not complete");
}

#[test]
fn late_changes_of_an_append_are_repaired_or_ignored_as_declared() {
    let append = |late: &str| format!("{DAILY}\nstrategy: append\nlate: {late}");
    let mut w = world(&[("a", FROM_EVENTS, &append("repair")), ("b", FROM_EVENTS, &append("ignore"))]);
    for name in ["a", "b"] {
        w.publish(name, days(1, 2), days(1, 2));
        w.change(name, EVENTS_ID, days(1, 2));
    }
    assert_eq!((w.runs("a"), w.runs("b")), (days(1, 3), days(2, 3)));
}

#[test]
fn a_table_without_windows_is_built_anew_when_an_input_changed() {
    let mut w = world(&[("a", FROM_EVENTS, DAILY), ("b", "select day, n from g.a", WHOLE)]);
    assert!(w.decide("b").runs.is_empty() && w.decide("b").waits[0].why.contains("no version"));
    w.publish("a", days(1, 3), days(1, 3));
    let first = &w.decide("b").runs[0];
    assert_eq!((first.reason, first.range, first.whole, first.complete), ("first build", None, true, true));
    w.publish("b", RangeSet::all(), RangeSet::all());
    assert!(w.decide("b").runs.is_empty());
    w.change("b", w.id("a"), RangeSet::all());
    assert_eq!(w.decide("b").runs[0].reason, "new data");
}

#[test]
fn min_interval_bounds_how_often_a_table_without_windows_is_built() {
    let mut w = world(&[("a", FROM_EVENTS, &format!("{WHOLE}\nmin_interval: 1m"))]);
    w.publish("a", RangeSet::all(), RangeSet::all());
    w.change("a", EVENTS_ID, RangeSet::all());
    w.last_run.insert(w.id("a"), w.now);
    assert!(w.decide("a").runs.is_empty());
    w.now = w.now.after(Duration::from_secs(60));
    assert_eq!(w.decide("a").runs.len(), 1);
}

#[test]
fn contiguous_windows_run_together_up_to_a_bound_newest_first_with_a_share_for_the_oldest() {
    let mut w = daily();
    w.now = at("2026-01-08T12:00:00Z");
    w.max_windows = 2;
    let firsts: Vec<_> = w.decide("a").runs.iter().map(|r| r.range.unwrap()).collect();
    let range = |from: u32, to: u32| days(from, to).ranges()[0];
    assert_eq!(firsts, [range(7, 8), range(1, 3), range(5, 7), range(3, 5)]);
}

#[test]
fn a_merge_may_write_any_row() {
    let merge = "strategy: {merge: {key: [user_id], columns: {first_at: min}}}\nwindow: {every: day}\ntime_column: day";
    let w = world(&[("a", "select user_id, at::date as day, min(at) as first_at from raw.events group by 1, 2", merge)]);
    assert!(w.decide("a").runs[0].whole);
}

#[test]
fn windows_that_read_what_an_input_no_longer_holds_are_frozen() {
    let mut w = daily();
    let mut events = Table::clone(w.catalog.table_by_id(EVENTS_ID).unwrap());
    events.families.iter_mut().for_each(|f| f.gc = common::schema::GcRule::MaxAgeSeconds(3 * 86_400));
    w.catalog.tables.insert(Arc::new(events));
    w.now = at("2026-01-08T12:00:00Z");
    w.publish("a", days(1, 8), days(1, 8)).forced = days(2, 3);
    w.change("a", EVENTS_ID, days(4, 7));
    // What is kept begins at noon of the 5th.
    assert_eq!(w.runs("a"), days(6, 7));
    let late = w.decide("a").waits.into_iter().find(|wait| wait.why.contains("no longer holds")).unwrap();
    assert_eq!(late.windows, days(2, 3).union(&days(4, 6)), "a backfill and late rows are counted, and change nothing");
    assert_eq!(w.decide("a").due, days(6, 7));
    w.catalog.published.clear();
    w.pending.clear();
    assert_eq!(w.runs("a"), days(6, 8), "and they are not built from what is left");
}

#[test]
fn a_schedule_limits_when_due_windows_may_start_and_makes_none_due() {
    let mut w = world(&[("a", FROM_EVENTS, &format!("{DAILY}\nschedule: every 1h"))]);
    assert_eq!(w.runs("a"), days(1, 3), "never seen idle: what is due may start");
    w.publish("a", days(1, 3), days(1, 3));
    w.now = at("2026-01-03T12:30:00Z");
    w.idle.insert(w.id("a"), at("2026-01-03T12:10:00Z"));
    assert_eq!(w.decide("a").due, RangeSet::empty(), "a scheduled time makes no window due");
    w.change("a", EVENTS_ID, days(1, 2));
    assert_eq!(w.runs("a"), RangeSet::empty());
    assert!(w.decide("a").waits[0].why.contains("its schedule starts it at 2026-01-03T13:00:00Z"), "{:?}", w.decide("a").waits);
    w.now = at("2026-01-03T13:00:00Z");
    assert_eq!(w.runs("a"), days(1, 2));
}

#[test]
fn a_table_that_uses_now_is_due_at_each_scheduled_time() {
    let mut w = world(&[("a", "select now()::date as day, count(*) as n from raw.events", &format!("{WHOLE}\nschedule: every 1h"))]);
    let run = w.decide("a").runs.remove(0);
    assert_eq!((run.reason, run.run_time), ("first build", Some(at("2026-01-03T12:00:00Z"))));
    w.publish("a", RangeSet::all(), RangeSet::of(Micros::MIN, at("2026-01-03T12:00:00Z")));
    assert!(w.decide("a").runs.is_empty());
    w.idle.insert(w.id("a"), w.now);
    w.now = at("2026-01-03T13:00:01Z");
    let run = w.decide("a").runs.remove(0);
    assert_eq!((run.reason, run.run_time), ("schedule", Some(at("2026-01-03T13:00:00Z"))));
}

/// The sum of all days so far: each day reads the day before.
const RUNNING: &str = "select e.day, e.n + coalesce(b.n, 0) as n from (select at::date as day, count(*) as n from raw.events group by 1) e left join g.a b on b.day = e.day - interval '1 day'";

#[test]
fn windows_of_a_table_that_reads_itself_run_in_order_one_at_a_time() {
    let mut w = world(&[("a", RUNNING, &format!("{DAILY}\ncolumns: {{day: {{type: date}}, n: {{type: int64}}}}"))]);
    w.now = at("2026-01-05T12:00:00Z");
    let own = w.id("a");
    assert_eq!(w.runs("a"), days(1, 2));
    w.publish("a", days(1, 2), days(1, 2));
    assert_eq!(w.runs("a"), days(2, 3), "the next waits for the one before it alone");
    w.catalog.published.clear();
    w.publish("a", days(1, 5), days(1, 5));
    w.change("a", EVENTS_ID, days(2, 3).union(&days(4, 5)));
    assert_eq!((w.runs("a"), w.decide("a").due), (days(2, 3), days(2, 3).union(&days(4, 5))));
    assert!(w.decide("a").waits.iter().any(|wait| wait.why.contains("earlier windows")));
    w.pending.clear();
    w.change("a", own, days(3, 4));
    assert_eq!(w.runs("a"), days(3, 4), "a changed output makes the next window dirty");
    w.fail("a", days(3, 4), 9);
    assert_eq!(w.runs("a"), RangeSet::empty());
}

#[test]
fn a_decision_is_the_same_for_the_same_facts() {
    let w = world(&[("a", FROM_EVENTS, DAILY), ("b", FROM_A, DAILY)]);
    assert_eq!((w.decide("a"), w.decide("b")), (w.decide("a"), w.decide("b")));
}

/// One change of the facts of one table of [`diamond`].
#[derive(Clone, Debug)]
enum Step {
    Publish(RangeSet, RangeSet),
    Force(RangeSet),
    Claim(RangeSet),
    Change(RangeSet),
    Settle,
    Fail(u32),
    Recover,
    Rest,
    Pause(bool),
}

const DIAMOND: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// `a` and `b` read events, `c` both of them, `d` reads `c` and itself, `e` is `a` as a whole, `f` reads `e` and `d`.
fn diamond() -> World {
    let own = "select c.day, c.n + coalesce(b.n, 0) as n from g.c c left join g.d b on b.day = c.day - interval '1 day'";
    let columns = format!("{DAILY}\ncolumns: {{day: {{type: date}}, n: {{type: int64}}}}");
    world(&[
        ("a", FROM_EVENTS, DAILY),
        ("b", "select at::date as day, count(*) + 1 as n from raw.events group by 1", DAILY),
        ("c", "select a.day, a.n + b.n as n from g.a a join g.b b on a.day = b.day", DAILY),
        ("d", own, &columns),
        ("e", FROM_A, WHOLE),
        ("f", "select d.day, d.n + e.n as n from g.d d join g.e e on d.day = e.day", DAILY),
    ])
}

impl World {
    fn facts(&self) -> Facts<'_> {
        Facts {
            now: self.now,
            catalog: &self.catalog,
            artifacts: &self.artifacts,
            earliest: &self.earliest,
            pending: &self.pending,
            failures: &self.failures,
            last_run: &self.last_run,
            idle: &self.idle,
            max_windows: self.max_windows,
        }
    }

    fn step(&mut self, name: &str, step: &Step) {
        let id = self.id(name);
        if self.catalog.published(id).is_none() {
            self.publish(name, RangeSet::empty(), RangeSet::empty()).version = Seq(0);
        }
        match step {
            Step::Publish(windows, complete) => {
                let published = self.published(id);
                published.version = Seq(published.version.0 + 1);
                (published.windows, published.complete) = (published.windows.union(windows), complete.clone());
            }
            Step::Force(windows) => self.published(id).forced = windows.clone(),
            Step::Claim(windows) => self.published(id).claimed = windows.clone(),
            Step::Change(windows) => self.change(name, EVENTS_ID, windows.clone()),
            Step::Settle => self.pending.retain(|(table, _), _| *table != id),
            Step::Fail(attempts) => self.fail(name, days(1, 2), *attempts),
            Step::Recover => self.failures.retain(|f| f.table != id),
            Step::Rest => drop(self.last_run.insert(id, self.now)),
            Step::Pause(true) => self.pause(name),
            Step::Pause(false) => drop(self.catalog.definitions.remove(&format!("g.{name}"))),
        }
    }
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<(usize, Step)>> {
    use proptest::prelude::*;
    let some = || (1..5_u32, 1..4_u32).prop_map(|(from, n)| days(from, from + n));
    let step = prop_oneof![
        4 => (some(), some()).prop_map(|(windows, complete)| Step::Publish(windows, complete)),
        1 => some().prop_map(Step::Force),
        2 => some().prop_map(Step::Claim),
        1 => Just(Step::Claim(RangeSet::empty())),
        3 => some().prop_map(Step::Change),
        2 => Just(Step::Settle),
        1 => (0..9_u32).prop_map(Step::Fail),
        1 => Just(Step::Recover),
        1 => Just(Step::Rest),
        1 => any::<bool>().prop_map(Step::Pause),
    ];
    prop::collection::vec((0..DIAMOND.len(), step), 1..40)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn deciding_on_what_changed_gives_what_deciding_on_everything_gives(steps in steps()) {
        let mut w = diamond();
        w.now = at("2026-01-06T12:00:00Z");
        let mut decider = Decider::default();
        decider.decide_all(&w.facts());
        for (table, step) in steps {
            let name = DIAMOND[table];
            w.step(name, &step);
            let before: BTreeMap<_, _> = decider.decisions().map(|d| (d.table.clone(), d.clone())).collect();
            let others = decider.decide(&w.facts(), [format!("g.{name}")]);
            let is_other = |d: &&Decision| before.get(&d.table) != Some(d);
            let found: Vec<_> = decider.decisions().filter(is_other).map(|d| d.table.clone()).collect();
            proptest::prop_assert_eq!(others.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>(), found);
            let mut all = decide(&w.facts());
            all.sort_by(|a, b| a.table.cmp(&b.table));
            proptest::prop_assert_eq!(decider.decisions().cloned().collect::<Vec<_>>(), all, "after {:?} of {}", step, name);
        }
    }
}
