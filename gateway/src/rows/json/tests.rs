use super::*;
use common::ids::TableId;
use common::row::{Cell, Mutation};
use common::schema::TableKind;
use common::time::Micros;
use proptest::prelude::*;

fn rows(yaml: &str) -> JsonRows {
    JsonRows::new(Arc::new(Table::create(TableId(7), TableKind::Raw, serde_json::from_str(yaml).unwrap()).unwrap()))
}

fn events() -> JsonRows {
    rows(
        r#"{"name": "raw.events", "key": [{"user": "string"}, {"at": "timestamp desc"}, {"n": "int64 nullable"}], "time_column": "at",
            "columns": {"price": "float64", "ok": "bool", "day": "date", "blob": "bytes", "doc": "json", "label": "string"}}"#,
    )
}

/// The row that a mutation of sets leaves.
fn stored(mutation: RowMutation) -> Row {
    let cell = |m| match m {
        Mutation::Set { family, qualifier, timestamp, value } => {
            Cell { family, qualifier, timestamp: timestamp.unwrap_or(Micros(1)), value }
        }
        other => panic!("{other:?}"),
    };
    let mut cells: Vec<_> = mutation.mutations.into_iter().map(cell).collect();
    cells.sort_by(|a, b| (a.family, &a.qualifier).cmp(&(b.family, &b.qualifier)));
    Row { key: mutation.key, cells }
}

fn round(rows: &JsonRows, text: &str) -> String {
    let mut out = String::new();
    rows.write(&stored(rows.read(text).unwrap()), Shape::Values, &mut out).unwrap();
    out
}

#[test]
fn a_row_comes_back_as_it_was_written() {
    let text = r#"{"user":"é","at":"2016-02-01T16:59:04.295Z","n":-3,"price":1.5,"ok":true,"day":"2016-02-29","blob":"AP8=","doc":{"a": [1.50, null]},"label":"x","big":12345678901234567890.10,"nested":{"b":  [ ]},"no":false}"#;
    let out = round(&events(), text);
    let sorted = |text: &str| serde_json::from_str::<std::collections::BTreeMap<String, Box<serde_json::value::RawValue>>>(text).unwrap();
    let (want, found) = (sorted(text), sorted(&out));
    assert_eq!(want.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (name, value) in want {
        assert_eq!(value.get(), found[&name].get(), "{name}");
    }
    assert!(out.starts_with(r#"{"user":"é","at":"2016-02-01T16:59:04.295Z","n":-3,"price":1.5"#), "{out}");
}

#[test]
fn null_is_absent_and_a_row_of_key_parts_alone_lives() {
    assert_eq!(
        round(&events(), r#"{"user":"u","at":"2016-02-01","price":null,"other":null}"#),
        r#"{"user":"u","at":"2016-02-01T00:00:00Z","n":null}"#
    );
}

#[test]
fn cells_carry_the_event_time() {
    let mutation = events().read(r#"{"user":"u","at":"1970-01-01T00:00:07Z","price":2}"#).unwrap();
    assert!(matches!(mutation.mutations[..], [Mutation::Set { timestamp: Some(Micros(7_000_000)), .. }]));
}

#[test]
fn mistakes_are_named() {
    let events = events();
    for (text, parts) in [
        (r#"{"user":"u"}"#, &["'at'", "missing"][..]),
        (r#"{"user":"u","at":1454345944}"#, &["'at'", "1454345944", "RFC 3339", "int64"]),
        (r#"{"user":"u","at":"yesterday"}"#, &["'at'", "'yesterday'"]),
        (r#"{"user":7,"at":"2016-02-01"}"#, &["'user'", "7", "in quotes"]),
        (r#"{"user":"u","at":"2016-02-01","price":"cheap"}"#, &["'price'", "\"cheap\"", "a number"]),
        (r#"{"user":"u","at":"2016-02-01","n":1.5}"#, &["'n'", "1.5", "whole number"]),
        (r#"{"user":"u","at":"2016-02-01","n":9223372036854775808}"#, &["'n'", "9223372036854775808"]),
        (r#"{"user":"u","at":"2016-02-01","day":"2016-02-30"}"#, &["'day'", "2016-02-30"]),
        (r#"{"user":"u","at":"2016-02-01","blob":"*"}"#, &["'blob'", "base64"]),
        (r#"{"user":"u","at":"2016-02-01","x":1,"x":2}"#, &["'x'", "twice"]),
        (r#"{"user":"u","at""#, &["JSON object"]),
        ("[1]", &["JSON object"]),
    ] {
        let e = events.read(text).unwrap_err();
        assert!(parts.iter().all(|p| e.message.contains(p)), "{text}: {e}");
    }
    let long = format!(r#"{{"user":"{}","at":"2016-02-01"}}"#, "x".repeat(5000));
    assert!(events.read(&long).unwrap_err().message.contains("row key of"));
}

#[test]
fn a_table_may_refuse_undeclared_attributes() {
    let closed = rows(r#"{"name": "a.b", "key": [{"id": "int64"}], "columns": {"price": "float64"}, "undeclared": "none"}"#);
    let e = closed.read(r#"{"id":1,"prise":2}"#).unwrap_err();
    assert!(e.message.contains("'prise'") && e.message.contains("'price'"), "{e}");
    assert!(closed.columns(["prise"].into_iter()).is_err());
    assert_eq!(round(&closed, r#"{"id":"17","price":2}"#), r#"{"id":17,"price":2.0}"#);
}

#[test]
fn parts_come_from_paths() {
    let rows = rows(
        r#"{"name": "a.b", "key": [{"actor_id": "int64"}, {"at": "timestamp"}], "columns": {"login": "string"},
            "from": {"actor_id": "actor.id", "login": "actor.login", "at": "created_at"}}"#,
    );
    let text = r#"{"actor":{"id":5,"login":"x"},"created_at":"2015-01-01T00:00:00Z","public":true}"#;
    let out = round(&rows, text);
    assert_eq!(out, r#"{"actor_id":5,"at":"2015-01-01T00:00:00Z","login":"x","actor":{"id":5,"login":"x"},"public":true}"#);
    assert_eq!(round(&rows, &out), out);
    let e = rows.read(r#"{"actor":{},"created_at":"2015-01-01"}"#).unwrap_err();
    assert!(e.message.contains("from actor.id"), "{e}");
    let e = rows.read(r#"{"actor":{"id":5},"actor_id":6,"created_at":"2015-01-01"}"#).unwrap_err();
    assert!(e.message.contains("'actor_id'"), "{e}");
}

#[test]
fn raw_keys_and_families_nest() {
    let raw = rows(r#"{"name": "a.b", "families": {"cf": {}}, "columns": [{"name": "n", "type": "int64", "family": "cf"}]}"#);
    let text = r#"{"row_key":{"base64":"/w=="},"cf":{"n":3,"q":"text","b":{"base64":"/wA="}},"attrs":{"x":[1]}}"#;
    let sorted = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(sorted(&round(&raw, text)), sorted(text));
    assert!(raw.read(r#"{"cf":{}}"#).unwrap_err().message.contains("row_key"));
    assert!(raw.read(r#"{"row_key":"k","cf":{"q":7}}"#).unwrap_err().message.contains("cf:q"));
}

#[test]
fn cells_are_listed_with_their_timestamps() {
    let mut out = String::new();
    let rows = events();
    let row = stored(rows.read(r#"{"user":"u","at":"1970-01-01T00:00:01Z","price":2,"x":"y"}"#).unwrap());
    rows.write(&row, Shape::Cells, &mut out).unwrap();
    assert_eq!(
        out,
        r#"{"user":"u","at":"1970-01-01T00:00:01Z","n":null,"cells":[{"family":"data","qualifier":"price","timestamp":"1970-01-01T00:00:01Z","value":2.0},{"family":"attrs","qualifier":"x","timestamp":"1970-01-01T00:00:01Z","value":"y"}]}"#
    );
}

#[test]
fn changes_delete_first_and_then_set() {
    let rows = events();
    let change = |text: &str| rows.change(&serde_json::from_str(text).unwrap());
    let key = r#"{"user":"u","at":"2016-02-01","n":1}"#;
    let whole = change(&format!(r#"{{"key":{key},"delete":"row"}}"#)).unwrap();
    assert_eq!(whole.mutations, [Mutation::DeleteRow]);
    let both =
        change(&format!(r#"{{"key":{key},"set":{{"price":1}},"delete":{{"columns":["price","x"],"families":["attrs"]}}}}"#)).unwrap();
    assert_eq!(both.key, whole.key);
    assert!(matches!(
        both.mutations[..],
        [Mutation::DeleteColumn { .. }, Mutation::DeleteColumn { .. }, Mutation::DeleteFamily { .. }, Mutation::Set { .. }]
    ));
    for (wrong, part) in [
        (format!(r#"{{"key":{key}}}"#), "neither"),
        (r#"{"delete":"row"}"#.to_owned(), "'key'"),
        (format!(r#"{{"key":{key},"delete":{{}}}}"#), "nothing to delete"),
        (format!(r#"{{"key":{key},"delete":{{"columns":["at"]}}}}"#), "part of the key"),
        (format!(r#"{{"key":{key},"delete":{{"families":["f"]}}}}"#), "no family 'f'"),
        (r#"{"key":{"user":"u","price":1},"delete":"row"}"#.to_owned(), "'price'"),
    ] {
        let e = change(&wrong).unwrap_err();
        assert!(e.message.contains(part), "{wrong}: {e}");
    }
}

fn scalar() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("a JSON number", |f| f.is_finite()).prop_map(Into::into),
        ".*".prop_map(serde_json::Value::from),
    ]
}

proptest! {
    #[test]
    fn any_row_reads_back_the_same(
        user in ".*",
        at in 0i64..4_000_000_000_000_000,
        n in proptest::option::of(any::<i64>()),
        price in proptest::option::of(any::<f64>().prop_filter("a JSON number", |f| f.is_finite())),
        label in proptest::option::of(".*"),
        extra in proptest::collection::btree_map("[a-z]{7,9}|é.*", prop_oneof![scalar(), proptest::collection::vec(scalar(), 0..3).prop_map(Into::into)], 0..5),
    ) {
        let mut object = serde_json::Map::new();
        object.insert("user".into(), user.into());
        object.insert("at".into(), Micros(at).to_rfc3339().into());
        n.map(|n| object.insert("n".into(), n.into()));
        price.map(|p| object.insert("price".into(), p.into()));
        label.map(|l| object.insert("label".into(), l.into()));
        object.extend(extra);
        let rows = events();
        let text = serde_json::Value::from(object).to_string();
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        let once = round(&rows, &text);
        let mut found: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&once).unwrap();
        if n.is_none() {
            prop_assert_eq!(found.remove("n"), Some(serde_json::Value::Null));
        }
        prop_assert_eq!(&found, &object);
        prop_assert_eq!(round(&rows, &once), once);
    }
}

#[test]
fn conditions_and_rules_are_read_by_the_columns_types() {
    use common::conditional::{Modify, Predicate};
    let jobs =
        rows(r#"{"name": "raw.jobs", "key": [{"job": "string"}], "columns": {"owner": "string", "tries": "int64", "log": "string"}}"#);
    let check = |text: &str| jobs.check_and_mutate(serde_json::from_str(text).unwrap());
    let found = check(
        r#"{"key": {"job": "j"}, "if": {"owner": null, "tries": 3}, "exists": true, "then": {"set": {"owner": "w"}}, "else": {"delete": "row"}}"#,
    );
    let found = found.unwrap();
    let Predicate::All(tests) = &found.predicate else { panic!("{:?}", found.predicate) };
    assert!(matches!(tests.as_slice(), [Predicate::Not(_), Predicate::Cell(_), Predicate::Cell(_)]), "{tests:?}");
    assert_eq!((found.then.len(), &found.otherwise[..]), (1, &[Mutation::DeleteRow][..]));
    for (text, word) in [
        (r#"{"key": {"job": "j"}, "then": {"delete": "row"}}"#, "nothing is asked"),
        (r#"{"key": {"job": "j"}, "exists": true}"#, "nothing is to be done"),
        (r#"{"key": {"job": "j"}, "if": {"tries": "many"}, "then": {"delete": "row"}}"#, "tries"),
        (r#"{"key": {"jub": "j"}, "exists": true, "then": {"delete": "row"}}"#, "jub"),
    ] {
        let e = check(text).unwrap_err();
        assert!(e.message.contains(word), "{text}: {e}");
    }
    let modify = |text: &str| jobs.read_modify_write(&serde_json::from_str(text).unwrap());
    let found = modify(r#"{"key": {"job": "j"}, "increment": {"tries": -2}, "append": {"log": "x"}}"#).unwrap();
    let done: Vec<_> = found.rules.iter().map(|r| r.modify.clone()).collect();
    assert_eq!(done, [Modify::Increment(-2), Modify::Append("x".into())]);
    for (text, word) in [
        (r#"{"key": {"job": "j"}}"#, "nothing is to be done"),
        (r#"{"key": {"job": "j"}, "increment": {"log": 1}}"#, "only int64 columns"),
        (r#"{"key": {"job": "j"}, "append": {"tries": "x"}}"#, "only string and bytes columns"),
        (r#"{"key": {"job": "j"}, "increment": {"other": 1}}"#, "no declared column"),
        (r#"{"key": {"job": "j"}, "append": {"log": null}}"#, "null"),
    ] {
        let e = modify(text).unwrap_err();
        assert!(e.message.contains(word), "{text}: {e}");
    }
}
