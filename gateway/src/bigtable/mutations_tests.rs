use super::messages::{Aggregated, Change, DeleteFromColumn, DeleteFromFamily, DeleteFromRow, Mutation as Wire, SetCell, TimestampRange};
use super::mutations::Rows;
use bytes::Bytes;
use common::ids::{FamilyId, TableId};
use common::row::Mutation;
use common::schema::{StoredQualifier, Table, TableKind, TableSpec};
use common::time::{Micros, TimeRange};
use common::value::Value;
use common::{ErrorKind, Result};
use serde_json::{Value as Json, json};

fn table(spec: Json) -> Table {
    let spec: TableSpec = serde_json::from_value(spec).unwrap();
    Table::create(TableId(1), TableKind::Raw, spec).unwrap()
}

/// Raw keys, the family `f`, and in it a column `n` that is an integer.
fn raw() -> Table {
    table(
        json!({ "name": "raw.t", "families": { "f": {}, "hid": { "hidden": true } }, "columns": [{ "name": "n", "type": "int64", "family": "f" }] }),
    )
}

fn set(family: &str, qualifier: &'static str, timestamp_micros: i64, value: Bytes) -> Wire {
    let cell = SetCell { family_name: family.into(), column_qualifier: qualifier.into(), timestamp_micros, value };
    Wire { mutation: Some(Change::SetCell(cell)) }
}

fn one(table: &Table, change: Wire) -> Result<Mutation> {
    Ok(Rows::of(table).row(Bytes::from_static(b"k"), vec![change])?.mutations.remove(0))
}

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn delete_column(range: Option<(i64, i64)>) -> Wire {
    let time_range = range.map(|(start, end)| TimestampRange { start_timestamp_micros: start, end_timestamp_micros: end });
    Wire {
        mutation: Some(Change::DeleteFromColumn(DeleteFromColumn { family_name: "f".into(), column_qualifier: value("q"), time_range })),
    }
}

#[test]
fn cells_go_where_the_schema_has_them() {
    let table = raw();
    let family = table.family("f").unwrap().id;
    let named = StoredQualifier::Named(value("q")).encode();
    let expected = Mutation::Set { family, qualifier: named, timestamp: Some(Micros(5000)), value: value("v") };
    assert_eq!(one(&table, set("f", "q", 5000, value("v"))).unwrap(), expected);
    let number = Value::Int64(7).to_cell();
    let expected = Mutation::Set { family, qualifier: table.column("n").unwrap().stored(), timestamp: None, value: number.clone() };
    assert_eq!(one(&table, set("f", "n", -1, number)).unwrap(), expected);
    let expected =
        Mutation::Set { family, qualifier: StoredQualifier::Named(Bytes::new()).encode(), timestamp: Some(Micros(0)), value: Bytes::new() };
    assert_eq!(one(&table, set("f", "", 0, Bytes::new())).unwrap(), expected);
}

#[test]
fn what_cannot_be_read_again_is_refused() {
    let table = raw();
    let refused = |change| one(&table, change).unwrap_err();
    let e = refused(set("f", "n", -1, value("7")));
    assert_eq!((e.kind, e.message.as_str()), (ErrorKind::InvalidArgument, "mutation 0: column 'n': a cell of 1 bytes is not a int64"));
    for family in ["g", "hid", ""] {
        let e = refused(set(family, "q", -1, value("v")));
        assert_eq!(e.kind, ErrorKind::NotFound);
        assert!(e.message.contains(&format!("has no '{family}', but ")) && !e.message.contains(", hid"), "{e}");
    }
    for timestamp in [1, 999, 1001, -2, -1000, i64::MIN] {
        let e = refused(set("f", "q", timestamp, value("v")));
        assert!(e.kind == ErrorKind::InvalidArgument && e.message.contains(&timestamp.to_string()), "{e}");
    }
}

#[test]
fn deletes_mean_what_they_mean_in_bigtable() {
    let table = raw();
    let family = table.family("f").unwrap().id;
    let times = |range| match one(&table, delete_column(range)) {
        Ok(Mutation::DeleteColumn { timestamps, .. }) => Ok(timestamps),
        Ok(other) => panic!("{other:?}"),
        Err(e) => Err(e.kind),
    };
    assert_eq!(times(None), Ok(TimeRange::ALL));
    assert_eq!(times(Some((0, 0))), Ok(TimeRange::ALL));
    assert_eq!(times(Some((1000, 0))), Ok(TimeRange { start: Micros(1000), end: Micros::MAX }));
    assert_eq!(times(Some((0, 2000))), Ok(TimeRange { start: Micros::MIN, end: Micros(2000) }));
    for wrong in [(2000, 1000), (-1, 0), (0, -1)] {
        assert_eq!(times(Some(wrong)), Err(ErrorKind::InvalidArgument));
    }
    let whole = DeleteFromFamily { family_name: "f".into() };
    assert_eq!(one(&table, Wire { mutation: Some(Change::DeleteFromFamily(whole)) }).unwrap(), Mutation::DeleteFamily { family });
    assert_eq!(one(&table, Wire { mutation: Some(Change::DeleteFromRow(DeleteFromRow {})) }).unwrap(), Mutation::DeleteRow);
}

#[test]
fn kinds_that_are_not_there_say_so() {
    for (change, name) in [
        (Some(Change::AddToCell(Aggregated {})), "AddToCell"),
        (Some(Change::MergeToCell(Aggregated {})), "MergeToCell"),
        (None, "not known"),
    ] {
        let e = one(&raw(), Wire { mutation: change }).unwrap_err();
        assert!(e.kind == ErrorKind::Unimplemented && e.message.contains(name) && e.message.contains("SetCell"), "{e}");
    }
    let second = Rows::of(&raw()).row(value("k"), vec![set("f", "q", -1, value("v")), set("f", "q", 7, value("v"))]).unwrap_err();
    assert!(second.message.starts_with("mutation 1: "), "{second}");
}

#[test]
fn typed_keys_are_held_to_and_give_cells_their_time() {
    let table = table(json!({
        "name": "raw.e", "key": [{ "user": "string" }, { "at": "timestamp" }], "time_column": "at", "columns": { "n": "int64" },
    }));
    let row = |key: Bytes, timestamp| {
        let family = &table.family_by_id(FamilyId(1)).unwrap().name;
        Rows::of(&table).row(key, vec![set(family, "x", timestamp, value("1"))])
    };
    let at = Micros(1_700_000_000_000_001);
    let key = table.key_schema().encode(&[Some(Value::String("ann".into())), Some(Value::Timestamp(at))]).unwrap();
    let stamp = |timestamp| match row(key.clone(), timestamp).unwrap().mutations.remove(0) {
        Mutation::Set { timestamp, .. } => timestamp,
        other => panic!("{other:?}"),
    };
    assert_eq!((stamp(-1), stamp(3000)), (Some(at), Some(Micros(3000))));
    let e = row(value("ann"), -1).unwrap_err();
    assert!(e.kind == ErrorKind::InvalidArgument && e.message.contains("{user: string, at: timestamp}"), "{e}");
    let mut longer = key.to_vec();
    longer.push(0);
    assert_eq!(row(longer.into(), -1).unwrap_err().kind, ErrorKind::InvalidArgument);
}
