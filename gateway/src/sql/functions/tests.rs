//! Answers of `DuckDB` and Postgres, where both give one.

use super::register;
use datafusion::arrow::array::{MapBuilder, RecordBatch, StringBuilder};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::sync::Arc;

fn session() -> SessionContext {
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
    let session = SessionContext::new_with_config(config);
    register(&session).unwrap();
    let names = datafusion::arrow::array::MapFieldNames { entry: "entries".into(), key: "keys".into(), value: "values".into() };
    let mut attrs = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for (key, value) in [("s", r#""text""#), ("n", "1.50"), ("l", r#"["a", "b", null]"#), ("o", r#"{"x": {"y": [1, 2]}}"#), ("z", "null")] {
        attrs.keys().append_value(key);
        attrs.values().append_value(value);
    }
    attrs.append(true).unwrap();
    attrs.append(true).unwrap();
    attrs.append(false).unwrap();
    let batch = RecordBatch::try_from_iter([("attrs", Arc::new(attrs.finish()) as _)]).unwrap();
    session.register_batch("t", batch).unwrap();
    session
}

/// All values of all rows, joined.
async fn answer(session: &SessionContext, sql: &str) -> String {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        let options = FormatOptions::new().with_null("NULL");
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|r| columns.iter().map(|c| c.value(r).to_string()).collect::<Vec<_>>().join(" | ")));
    }
    rows.join("\n")
}

#[tokio::test]
async fn arrows_take_documents_apart() {
    let session = session();
    for (sql, want) in [
        (r#"select '{"a": {"b": [10, "x", null]}}'->'a'->'b'->1"#, r#""x""#),
        (r#"select '{"a": {"b": [10, "x", null]}}'->'a'->'b'->>1"#, "x"),
        (r#"select '{"a": {"b": [10, "x", null]}}'->'a'->'b'->> -1"#, "NULL"),
        (r#"select '{"a": null}'->'a', '{"a": null}'->>'a', '{"a": 1}'->'b'"#, "null | NULL | NULL"),
        (r#"select ('{"a": "7"}'->>'a')::int + 1"#, "8"),
        (r#"select 1 where '{"a": "b"}'->>'a' = 'b' and '{"a": 3}'->>'a' in ('3')"#, "1"),
        (r#"select '{"a": {"x":  1}}'->>'a'"#, r#"{"x":  1}"#),
        ("select null->'a', 'no json'->'a'", "NULL | NULL"),
        ("select attrs->>'s', attrs->'s', attrs->'n', attrs->'z', attrs->>'z' from t limit 1", r#"text | "text" | 1.50 | null | NULL"#),
        ("select attrs->'o'->'x'->'y'->>0, attrs->'none' from t limit 1", "1 | NULL"),
        ("select attrs['s'] from t", "\"text\"\nNULL\nNULL"),
        ("select attrs->>k from (select attrs, unnest(['s', 'n']) as k from t limit 2)", "text\n1.50"),
        ("select count(*) from t where attrs->>'s' = 'text'", "1"),
    ] {
        assert_eq!(answer(&session, sql).await, want, "{sql}");
    }
}

#[tokio::test]
async fn members_and_elements_are_listed() {
    let session = session();
    for (sql, want) in [
        (r#"select json_keys('{"b": 1, "a": 2}'), json_keys('[1]'), json_keys(null)"#, "[b, a] | [] | NULL"),
        ("select json_keys(attrs) from t", "[s, n, l, o, z]\n[]\nNULL"),
        ("select k from (select unnest(json_keys(attrs)) as k from t) order by 1 limit 2", "l\nn"),
        ("select json_array_length('[1, [2, 3]]'), json_array_length('{}'), json_array_length(null)", "2 | 0 | NULL"),
        ("select sum(json_array_length(attrs->'l')) from t", "3"),
        ("select unnest(json_array_elements_text(attrs->'l')) from t", "a\nb\nNULL"),
        (r#"select json_array_elements('["a", 1.0]'), json_array_elements('7')"#, r#"["a", 1.0] | NULL"#),
    ] {
        assert_eq!(answer(&session, sql).await, want, "{sql}");
    }
}

#[tokio::test]
async fn times_are_written_by_c_formats() {
    let session = session();
    for (sql, want) in [
        ("select strftime(timestamp '2016-02-01 16:59:04.295', '%Y-%m-%d %H:%M:%S.%f')", "2016-02-01 16:59:04.295000"),
        ("select strftime(date '2016-02-01', '%Y-%m'), strftime(null, '%Y')", "2016-02 | NULL"),
        ("select strftime(date '2016-02-01', '%d %b %j %a %%f')", "01 Feb 032 Mon %f"),
        ("select strftime(date_trunc('minute', timestamp '2015-01-01 00:07:59'), '%H:%M')", "00:07"),
    ] {
        assert_eq!(answer(&session, sql).await, want, "{sql}");
    }
    let wrong = session.sql("select strftime(date '2016-02-01', '%Q')").await.unwrap().collect().await.unwrap_err();
    assert!(wrong.to_string().contains("%Q"), "{wrong}");
}

#[tokio::test]
async fn operators_name_their_columns_and_group() {
    let session = session();
    let frame = session.sql("select attrs->'o'->>'x', count(*) as n from t group by attrs->'o'->>'x' having n > 1").await.unwrap();
    let batches = frame.collect().await.unwrap();
    assert_eq!(batches[0].schema().field(0).name(), "t.attrs->'o'->>'x'");
}

#[tokio::test]
async fn a_wrong_operand_is_named() {
    let session = session();
    let wrong = session.sql("select 7->'a'").await.unwrap_err().to_string();
    assert!(wrong.contains("Int64"), "{wrong}");
}
