//! Reads by parameters against what a plain filter over all rows gives.

use super::query::RowQuery;
use crate::rows::json::JsonRows;
use common::ids::TableId;
use common::row::Row;
use common::schema::{Table, TableKind};
use common::time::Micros;
use common::value::Value;
use std::sync::Arc;

const USERS: [&str; 4] = ["a", "ab", "b", "ba"];
const TIMES: std::ops::Range<i64> = 0..6;

fn rows(spec: &str) -> JsonRows {
    JsonRows::new(Arc::new(Table::create(TableId(7), TableKind::Raw, serde_json::from_str(spec).unwrap()).unwrap()))
}

fn events(order: &str) -> JsonRows {
    rows(&format!(
        r#"{{"name": "raw.e", "key": [{{"user": "string"}}, {{"at": "timestamp {order}"}}, {{"n": "int64"}}], "time_column": "at", "columns": {{"x": "int64"}}}}"#
    ))
}

fn params(text: &str) -> Vec<(String, String)> {
    text.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap()).map(|(n, v)| (n.into(), v.into())).collect()
}

/// The rows that a read gives, as (user, second), in its order.
fn read(rows: &JsonRows, text: &str) -> Vec<(String, i64)> {
    let query = RowQuery::parse(rows, &params(text)).unwrap();
    let mut all = Vec::new();
    for user in USERS {
        for second in TIMES {
            let values = [Some(Value::String(user.into())), Some(Value::Timestamp(Micros(second * 1_000_000))), Some(Value::Int64(1))];
            all.push((rows.table().key_schema().encode(&values).unwrap(), (user.to_owned(), second)));
        }
    }
    all.sort();
    if query.spec.reverse {
        all.reverse();
    }
    all.retain(|(key, _)| {
        query.spec.ranges.iter().any(|r| r.contains(key)) && query.passes(rows.table(), &Row { key: key.clone(), cells: vec![] }).unwrap()
    });
    all.into_iter().map(|(_, name)| name).collect()
}

fn want(keep: impl Fn(&str, i64) -> bool, newest_first: bool) -> Vec<(String, i64)> {
    let mut out: Vec<_> = USERS.iter().flat_map(|u| TIMES.map(move |t| ((*u).to_owned(), t))).filter(|(u, t)| keep(u, *t)).collect();
    if newest_first {
        out.sort_by(|a, b| (&a.0, -a.1).cmp(&(&b.0, -b.1)));
    }
    out
}

#[test]
fn ranges_of_time_lie_where_the_key_says() {
    for (order, newest_first) in [("desc", true), ("asc", false)] {
        let rows = events(order);
        let second = |n: i64| format!("1970-01-01T00:00:0{n}Z");
        for (from, to) in [(1, 4), (0, 6), (3, 3), (2, 5)] {
            let text = format!("user=ab&from={}&to={}", second(from), second(to));
            assert_eq!(read(&rows, &text), want(|u, t| u == "ab" && (from..to).contains(&t), newest_first), "{order} {text}");
            let text = format!("from={}&to={}", second(from), second(to));
            assert_eq!(read(&rows, &text), want(|_, t| (from..to).contains(&t), newest_first), "{order} {text}");
        }
        assert_eq!(read(&rows, &format!("user=b&from={}", second(4))), want(|u, t| u == "b" && t >= 4, newest_first));
        assert_eq!(read(&rows, "prefix=a"), want(|u, _| u.starts_with('a'), newest_first));
        assert_eq!(read(&rows, "user=b&order=desc"), want(|u, _| u == "b", true));
        assert_eq!(read(&rows, "user=b&order=asc"), want(|u, _| u == "b", false));
        assert_eq!(read(&rows, &format!("user=b&at={}&from=1&to=2", second(3))), want(|u, t| u == "b" && t == 3, newest_first));
    }
}

#[test]
fn a_scan_by_time_says_so_to_the_engine() {
    let query = RowQuery::parse(&events("desc"), &params("from=1970-01-02&columns=x")).unwrap();
    assert!(query.filters());
    assert_eq!(query.spec.event_time.unwrap().start, Micros(86_400_000_000));
    let keyed = RowQuery::parse(&events("desc"), &params("user=u&from=1970-01-02")).unwrap();
    assert!(!keyed.filters() && keyed.spec.event_time.is_none());
}

#[test]
fn without_a_time_column_the_next_part_is_bounded() {
    let rows = rows(r#"{"name": "raw.e", "key": [{"user": "string"}, {"n": "int64 nullable"}]}"#);
    let query = RowQuery::parse(&rows, &params("user=u&from=2&to=9&limit=3&cells=true")).unwrap();
    let key = |n: Option<i64>| rows.table().key_schema().encode(&[Some(Value::String("u".into())), n.map(Value::Int64)]).unwrap();
    let inside = |n| query.spec.ranges.iter().any(|r| r.contains(&key(n)));
    assert_eq!([None, Some(1), Some(2), Some(8), Some(9)].map(inside), [false, false, true, true, false]);
    assert_eq!((query.limit, query.spec.cells_per_column), (Some(3), 0));
    let null = RowQuery::one(&rows, &params("user=u&n=")).unwrap();
    assert!(null.spec.ranges[0].contains(&key(None)));
}

#[test]
fn wrong_parameters_are_named() {
    let rows = events("desc");
    for (text, parts) in [
        ("usr=u", &["'usr'", "'user'"][..]),
        ("x=5", &["'x'", "SQL"]),
        ("at=1970-01-01", &["'at'", "'user'"]),
        ("user=u&from=yesterday", &["from", "'yesterday'"]),
        ("user=u&limit=0", &["limit", "'0'"]),
        ("user=u&order=newest", &["'newest'", "asc or desc"]),
        ("user=u&prefix=1", &["prefix"]),
        ("user=u&at=1970-01-01&n=1&from=2", &["all key parts"]),
        ("user=u&cells=maybe", &["'maybe'"]),
    ] {
        let e = RowQuery::parse(&rows, &params(text)).unwrap_err();
        assert!(parts.iter().all(|p| e.message.contains(p)), "{text}: {e}");
    }
    assert!(RowQuery::one(&rows, &params("user=u&at=1970-01-01")).unwrap_err().message.contains("'n'"));
    assert!(RowQuery::one(&rows, &params("user=u&at=1970-01-01&n=1")).is_ok());
}

#[test]
fn raw_keys_are_text() {
    let rows = rows(r#"{"name": "raw.e"}"#);
    let ranges = |text: &str| RowQuery::parse(&rows, &params(text)).map(|q| q.spec.ranges);
    assert!(ranges("row_key=k").unwrap()[0].contains(b"k"));
    assert!(ranges("prefix=k").unwrap()[0].contains(b"k1"));
    assert!(!ranges("from=a&to=b").unwrap()[0].contains(b"b"));
    assert!(ranges("row_key=k&prefix=x").is_err());
}
