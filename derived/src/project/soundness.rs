//! What is found in plans, held against what DataFusion computes: no window that a change leaves clean
//! may change, and a run that reads only what its windows read gives the same rows.

use crate::document::Artifact;
use crate::testing::{compiled, session};
use common::time::{Micros, TimeRange};
use common::version::RangeSet;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::MemorySchemaProvider;
use datafusion::datasource::MemTable;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// Days of events.
const DAYS: i64 = 4;

/// One event: user, hour, device, cents.
type Event = (u8, i64, u8, i64);

const WHOLE: [&str; 16] = [
    "select user_id, at::date as day, count(*) as n, sum(cents) as c from raw.events group by 1, 2",
    "select user_id, date_trunc('day', at) as day, max(cents) as c from raw.events where device = 'd1' group by user_id, date_trunc('day', at)",
    "select user_id, date_bin(interval '12 hours', at) + interval '30 hours' as day, cents from raw.events",
    "with e as (select distinct user_id, at::date as d from raw.events) select user_id, d as day from e union all select user_id, (at - interval '5 hours')::date from raw.events",
    "select user_id, at::date as day, rank() over (partition by at::date order by cents) as r from raw.events",
    "select a.user_id, a.at::date as day, b.n from raw.events a left join (select at::date as d, count(*) as n from raw.events group by 1) b on b.d = a.at::date",
    "select a.user_id, a.at::date as day, count(*) as n from raw.events a, raw.events b where a.at::date = b.at::date and a.cents < b.cents group by 1, 2",
    "select a.user_id, b.at::date as day from raw.events a right join raw.events b on a.user_id = b.user_id and a.at::date = b.at::date",
    "select user_id, day, max(n) over (partition by day, user_id) as n from (select user_id, device, at::date as day, count(*) as n from raw.events group by 1, 2, 3) x",
    "select distinct on (at::date) user_id, at::date as day, cents from raw.events order by at::date, cents, user_id, event_id",
    "select user_id, at::date as day, cents from raw.events e where not exists (select 1 from raw.events o where o.user_id = e.user_id and o.cents > e.cents)",
    "select user_id, at::date as day, lag(cents) over (partition by user_id order by at, event_id) as before from raw.events",
    "select user_id, max(at)::date as day from raw.events group by 1",
    "select user_id, date_trunc('week', at)::date as day, count(*) as n from raw.events group by 1, 2 having count(*) > 1",
    "select user_id, unnest(make_array(1, 2)) as k, at::date as day from raw.events",
    "select coalesce(a.user_id, b.user_id) as user_id, coalesce(a.at, b.at)::date as day from raw.events a full join raw.events b on a.at = b.at and a.device <> b.device",
];

const PER_WINDOW: [&str; 5] = [
    "select user_id, min(at)::date as day, count(*) as n from raw.events where at >= {{ window.start }} and at < {{ window.end }} group by 1",
    "select user_id, ({{ window.end }} - interval '1 day')::date as day, sum(cents) as c from raw.events where at between {{ window.start }} - interval '40 hours' and {{ window.end }} group by 1, 2",
    "select user_id, {{ window.start }}::date as day, count(*) as n from raw.events where date_trunc('day', at) = {{ window.start }} - interval '1 day' group by 1, 2",
    "select a.user_id, {{ window.start }}::date as day from raw.events a left join raw.events b on a.user_id = b.user_id and b.at > {{ window.start }} and b.at <= {{ window.end }} where a.at < {{ window.end }} and a.at >= {{ window.start }} and b.cents is null",
    "select user_id, {{ window.start }}::date as day, count(*) as n from raw.events where at < {{ window.end }} group by 1, 2",
];

fn artifact(sql: &str, more: &str) -> Artifact {
    let yaml = format!("name: a.x\nkey: {{partition: [user_id]}}\nwindow: {{every: day}}\ntime_column: day\n{more}sql: |\n  {sql}\n");
    let found = compiled(&[("derived/x.yaml", &yaml)]);
    let problems: Vec<_> = found.problems().map(ToString::to_string).collect();
    found.artifacts().next().unwrap_or_else(|| panic!("{problems:?}")).clone()
}

fn batch(events: &[Event], times: TimeRange) -> RecordBatch {
    let kept: Vec<_> = events.iter().enumerate().filter(|(_, e)| times.contains(Micros(e.1 * HOUR))).collect();
    let text =
        |f: &dyn Fn(usize, &Event) -> String| Arc::new(StringArray::from_iter_values(kept.iter().map(|(i, e)| f(*i, e)))) as ArrayRef;
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(kept.iter().map(|(_, e)| e.1 * HOUR)));
    let cents: ArrayRef = Arc::new(Int64Array::from_iter_values(kept.iter().map(|(_, e)| e.3)));
    RecordBatch::try_from_iter([
        ("user_id", text(&|_, e| format!("u{}", e.0))),
        ("at", at),
        ("event_id", text(&|i, _| format!("e{i}"))),
        ("device", text(&|_, e| format!("d{}", e.2))),
        ("cents", cents),
    ])
    .unwrap()
}

/// The rows of the window that begins on a day, as sorted text, reading only these event times.
async fn rows(artifact: &Artifact, events: &[Event], day: i64, times: TimeRange) -> Vec<String> {
    let session = session().unwrap();
    let schema = Arc::new(MemorySchemaProvider::new());
    session.catalog("datafusion").unwrap().register_schema("raw", schema).unwrap();
    let batch = batch(events, times);
    session.register_table("raw.events", Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())).unwrap();
    let mut out = Vec::new();
    for query in artifact.queries(Some((Micros(day * DAY), Micros((day + 1) * DAY)))) {
        for batch in session.sql(&query.sql).await.unwrap().collect().await.unwrap() {
            let text = |row| batch.columns().iter().map(|c| array_value_to_string(c, row).unwrap()).collect::<Vec<_>>().join("|");
            out.extend((0..batch.num_rows()).map(text));
        }
    }
    out.sort();
    out
}

async fn check(artifact: &Artifact, before: &[Event], after: &[Event]) {
    let touched: BTreeSet<i64> = before.iter().zip(after).filter(|(b, a)| b != a).flat_map(|(b, a)| [b.1 * HOUR, a.1 * HOUR]).collect();
    let changed: RangeSet = touched.into_iter().map(|t| (Micros(t), Micros(t + 1))).collect();
    let input = artifact.input("raw.events").unwrap();
    let dirty = artifact.dirty(input, &changed);
    for day in -1..DAYS + 2 {
        let window = (Micros(day * DAY), Micros((day + 1) * DAY));
        let now = rows(artifact, after, day, TimeRange::ALL).await;
        if !dirty.covers(window.0, window.1) {
            assert_eq!(rows(artifact, before, day, TimeRange::ALL).await, now, "day {day} is clean and changed: {}", artifact.source);
        }
        if let Some(read) = artifact.reads(input, Some(window)) {
            assert_eq!(rows(artifact, after, day, read).await, now, "day {day} reads more than it says: {}", artifact.source);
        }
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((0u8..3, 0..DAYS * 24, 0u8..2, 0i64..4), 4..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    // A query in a debug build takes its time, so each case is one query.
    #[test]
    fn no_clean_window_changes_and_no_window_reads_more_than_it_says(
        query in any::<prop::sample::Index>(), before in events(), place in any::<prop::sample::Index>(),
        event in (0u8..3, 0..DAYS * 24, 0u8..2, 0i64..4),
    ) {
        let mut after = before.clone();
        after[place.index(before.len())] = event;
        let whole = WHOLE.iter().map(|sql| (*sql, ""));
        let all: Vec<_> = whole.chain(PER_WINDOW.iter().map(|sql| (*sql, "meaning: per_window\n"))).collect();
        let (sql, meaning) = all[query.index(all.len())];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(&artifact(sql, meaning), &before, &after));
    }
}
