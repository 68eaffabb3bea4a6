use super::{BatchBuilder, Projection};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use common::ErrorKind;
use common::ids::TableId;
use common::row::{Cell, Columns, Row};
use common::schema::{FamilySpec, ROW_MARKER, StoredQualifier, Table, TableKind, TableSpec};
use common::time::Micros;
use common::value::{Value, ValueType};
use std::collections::BTreeMap;
use std::sync::Arc;

fn typed(kind: TableKind) -> Arc<Table> {
    let spec = serde_json::json!({
        "name": "raw.all",
        "key": [{"user": "string"}, {"at": "timestamp desc"}, {"tie": "int64 nullable hidden"}],
        "columns": {"n": "int64", "f": "float64", "s": "string", "b": "bool", "t": "timestamp", "d": "date", "raw": "bytes", "j": "json"},
        "families": {"parts": {"hidden": true}},
    });
    Arc::new(Table::create(TableId(1), kind, serde_json::from_value(spec).unwrap()).unwrap())
}

fn key(table: &Table, user: &str, at: i64, tie: Option<i64>) -> Bytes {
    let values = [Some(Value::String(user.into())), Some(Value::Timestamp(Micros(at))), tie.map(Value::Int64)];
    table.key_schema().encode(&values).unwrap()
}

fn cell(table: &Table, family: &str, qualifier: StoredQualifier, value: &[u8]) -> Cell {
    let family = table.family(family).unwrap().id;
    Cell { family, qualifier: qualifier.encode(), timestamp: Micros(1), value: Bytes::copy_from_slice(value) }
}

fn declared(table: &Table, name: &str, value: &Value) -> Cell {
    cell(table, "data", StoredQualifier::Declared(table.column(name).unwrap().id), &value.to_cell())
}

fn named(table: &Table, family: &str, name: &'static str, value: &str) -> Cell {
    cell(table, family, StoredQualifier::Named(Bytes::from_static(name.as_bytes())), value.as_bytes())
}

/// A row with every column, two attributes and a merge part; then a row that has only its marker.
fn rows(table: &Table) -> Vec<Row> {
    let values = [
        ("n", Value::Int64(-7)),
        ("f", Value::Float64(0.5)),
        ("s", Value::String("é".into())),
        ("b", Value::Bool(true)),
        ("t", Value::Timestamp(Micros(11))),
        ("d", Value::Date(-3)),
        ("raw", Value::Bytes(Bytes::from_static(&[0, 255]))),
        ("j", Value::Json("{\"a\":1}".into())),
    ];
    let mut cells: Vec<_> = values.iter().map(|(name, value)| declared(table, name, value)).collect();
    cells.push(named(table, "attrs", "level", "3"));
    let mut older = named(table, "attrs", "level", "2");
    older.timestamp = Micros(0);
    cells.push(older);
    cells.push(named(table, "attrs", "mode", "\"pvp\""));
    cells.push(named(table, "parts", "w1", "\u{1}"));
    cells.sort_by(|a, b| (a.family, &a.qualifier, -a.timestamp.0).cmp(&(b.family, &b.qualifier, -b.timestamp.0)));
    let marker = cell(table, "data", StoredQualifier::Marker, b"");
    assert_eq!(marker.qualifier, ROW_MARKER);
    vec![Row { key: key(table, "ann", 5, Some(9)), cells }, Row { key: key(table, "bob", 4, None), cells: vec![marker] }]
}

fn projection(table: &Arc<Table>, names: &[&str]) -> common::Result<Projection> {
    Projection::new(table.clone(), &names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
}

fn batch(table: &Arc<Table>, names: &[&str], rows: &[Row]) -> common::Result<RecordBatch> {
    let mut builder = BatchBuilder::new(Arc::new(projection(table, names)?));
    for row in rows {
        builder.push(row)?;
    }
    builder.finish()
}

#[test]
fn every_type_comes_through_and_absent_cells_are_null() {
    for kind in [TableKind::Raw, TableKind::Derived] {
        let table = typed(kind);
        let got = batch(&table, &["n", "f", "s", "b", "t", "d", "raw", "j"], &rows(&table)).unwrap();
        assert_eq!(got.column(0).as_primitive::<Int64Type>().value(0), -7);
        assert!((got.column(1).as_primitive::<Float64Type>().value(0) - 0.5).abs() < f64::EPSILON);
        assert_eq!(got.column(2).as_string::<i32>().value(0), "é");
        assert!(got.column(3).as_boolean().value(0));
        assert_eq!(got.column(4).as_primitive::<TimestampMicrosecondType>().value(0), 11);
        assert_eq!(got.column(5).as_primitive::<Date32Type>().value(0), -3);
        assert_eq!(got.column(6).as_binary::<i32>().value(0), &[0, 255]);
        assert_eq!(got.column(7).as_string::<i32>().value(0), "{\"a\":1}");
        assert!(got.columns().iter().all(|c| c.is_null(1)), "the second row has only its marker");
    }
}

#[test]
fn key_parts_are_decoded_in_any_order_hidden_ones_too() {
    for kind in [TableKind::Raw, TableKind::Derived] {
        let table = typed(kind);
        let got = batch(&table, &["tie", "user", "at"], &rows(&table)).unwrap();
        let tie = got.column(0).as_primitive::<Int64Type>();
        assert_eq!((tie.value(0), tie.is_null(1)), (9, true));
        assert_eq!(got.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["ann", "bob"]);
        assert_eq!(got.column(2).as_primitive::<TimestampMicrosecondType>().values(), &[5, 4]);
    }
}

#[test]
fn undeclared_attributes_are_a_map_of_their_newest_values() {
    let table = typed(TableKind::Raw);
    let got = batch(&table, &["attrs", "parts"], &rows(&table)).unwrap();
    let attrs = got.column(0).as_map();
    assert!(attrs.is_null(1));
    let first = attrs.value(0);
    assert_eq!(first.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["level", "mode"]);
    assert_eq!(first.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["3", "\"pvp\""]);
    let parts = got.column(1).as_map().value(0);
    assert_eq!((parts.column(0).as_binary::<i32>().value(0), parts.column(1).as_binary::<i32>().value(0)), (&b"w1"[..], &[1u8][..]));
}

#[test]
fn a_table_of_raw_keys_has_its_row_key_and_binary_families() {
    let mut spec = TableSpec::named("raw.bytes");
    spec.families = BTreeMap::from([("cf".to_owned(), FamilySpec::default())]);
    let table = Arc::new(Table::create(TableId(1), TableKind::Raw, spec).unwrap());
    let row = Row { key: Bytes::from_static(&[0, 1]), cells: vec![named(&table, "cf", "q", "v")] };
    let names: Vec<_> = table.arrow_schema().fields().iter().map(|f| f.name().clone()).collect();
    let got = batch(&table, &names.iter().map(String::as_str).collect::<Vec<_>>(), &[row]).unwrap();
    assert_eq!(got.column(0).as_binary::<i32>().value(0), &[0, 1]);
    let at = names.iter().position(|n| n == "cf").unwrap();
    assert_eq!(got.column(at).as_map().value(0).column(1).as_binary::<i32>().value(0), b"v");
    assert_eq!(got.schema(), table.arrow_schema());
}

#[test]
fn what_is_asked_of_storage_is_what_is_shown() {
    let table = typed(TableKind::Raw);
    let columns = |names: &[&str]| projection(&table, names).unwrap().columns();
    assert_eq!(columns(&["user", "tie"]), Columns::Some(Vec::new()));
    let (data, attrs) = (table.family("data").unwrap().id, table.family("attrs").unwrap().id);
    assert_eq!(columns(&["s", "attrs"]), Columns::Some(vec![(data, Some(table.column("s").unwrap().stored())), (attrs, None)]));
    let plain = serde_json::json!({"name": "raw.few", "key": [{"k": "string"}], "columns": {"n": "int64"}});
    let plain = Arc::new(Table::create(TableId(1), TableKind::Raw, serde_json::from_value(plain).unwrap()).unwrap());
    assert_eq!(projection(&plain, &["k", "n", "attrs"]).unwrap().columns(), Columns::All);
}

#[test]
fn unknown_and_repeated_columns_are_refused_by_name() {
    let table = typed(TableKind::Raw);
    let e = projection(&table, &["user", "level"]).unwrap_err();
    assert_eq!(e.kind, ErrorKind::InvalidArgument);
    assert!(e.message.contains("raw.all") && e.message.contains("'level'") && e.message.contains("attrs"), "{e}");
    assert!(projection(&table, &["user", "user"]).unwrap_err().message.contains("twice"));
}

#[test]
fn a_value_of_another_type_is_an_error_that_names_table_column_and_key() {
    let table = typed(TableKind::Raw);
    let n = StoredQualifier::Declared(table.column("n").unwrap().id);
    let row = Row { key: key(&table, "ann", 5, None), cells: vec![cell(&table, "data", n, b"7")] };
    let e = batch(&table, &["n"], std::slice::from_ref(&row)).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Corrupt);
    for part in ["raw.all", "'n'", "ann", "int64"] {
        assert!(e.message.contains(part), "{e}");
    }
    assert!(batch(&table, &["user"], std::slice::from_ref(&row)).is_ok(), "only asked columns are looked at");
    let damaged = Row { key: Bytes::from_static(b"ann"), cells: Vec::new() };
    let e = batch(&table, &["at"], &[damaged]).unwrap_err();
    assert!(e.message.contains("'user'") && e.message.contains("row 'ann'"), "{e}");
    let attribute = Row { key: row.key, cells: vec![cell(&table, "attrs", StoredQualifier::Named(Bytes::from_static(b"x")), &[0xFF])] };
    assert!(batch(&table, &["attrs"], &[attribute]).unwrap_err().message.contains("'attrs'"));
}

#[test]
fn images_are_equal_if_their_asked_values_are() {
    let table = typed(TableKind::Raw);
    let key = key(&table, "ann", 5, None);
    let row = |n: i64, level: &str, timestamp: i64| {
        let mut cells = vec![declared(&table, "n", &Value::Int64(n)), named(&table, "attrs", "level", level)];
        cells.iter_mut().for_each(|c| c.timestamp = Micros(timestamp));
        Row { key: key.clone(), cells }
    };
    let same = |names: &[&str], a: &Row, b: &Row| projection(&table, names).unwrap().same(a, b);
    assert!(same(&["n", "attrs"], &row(1, "2", 1), &row(1, "2", 9)), "timestamps are not values");
    assert!(same(&["n"], &row(1, "2", 1), &row(1, "3", 1)));
    assert!(!same(&["n", "attrs"], &row(1, "2", 1), &row(1, "3", 1)));
    assert!(!same(&["n"], &row(1, "2", 1), &row(2, "2", 1)));
    assert!(!same(&["n"], &row(1, "2", 1), &Row { key: key.clone(), cells: Vec::new() }));
    assert!(same(&["user"], &row(1, "2", 1), &row(2, "3", 1)));
}

#[test]
fn images_are_told_apart_by_the_last_column() {
    let table = typed(TableKind::Raw);
    let mut builder = BatchBuilder::with_images(Arc::new(projection(&table, &["user", "n", "attrs"]).unwrap()), "_image");
    for _ in 0..2 {
        for (image, row) in rows(&table).iter().enumerate() {
            builder.push_image(row, image as i8).unwrap();
        }
        assert!(builder.bytes() > 0 && builder.rows() == 2);
        let batch = builder.finish().unwrap();
        assert_eq!(batch.schema(), *builder.schema());
        assert_eq!(batch.column_by_name("_image").unwrap().as_primitive::<Int8Type>().values(), &[0, 1]);
    }
}

#[test]
fn rows_without_columns_are_counted() {
    let table = typed(TableKind::Raw);
    assert_eq!(batch(&table, &[], &rows(&table)).unwrap().num_rows(), 2);
    assert_eq!(ValueType::ALL.len(), 8, "a new type needs a builder and a row in these tests");
}
