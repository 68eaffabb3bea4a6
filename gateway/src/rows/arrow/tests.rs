use super::*;
use arrow::array::{ArrayRef, Date32Array, Int32Array, Int64Array, StringArray, TimestampNanosecondArray};
use common::ids::TableId;
use common::schema::{ColumnSpec, DATA_FAMILY, KeyPartSpec, TableKind, TableSpec};
use derived::window::Windows;
use std::sync::Arc;

fn table(hidden: bool) -> Table {
    let part = |name: &str, ty, hidden| KeyPartSpec { name: name.into(), ty, descending: false, nullable: false, hidden };
    let column = |name: &str, ty| ColumnSpec { name: name.into(), ty, family: DATA_FAMILY.into(), qualifier: None };
    let mut key = vec![part("device", ValueType::String, false)];
    key.extend(hidden.then(|| part("_tie", ValueType::Bytes, true)));
    let spec = TableSpec {
        key,
        columns: vec![column("n", ValueType::Int64), column("at", ValueType::Timestamp)],
        undeclared: Some("none".into()),
        ..TableSpec::named("test.table")
    };
    Table::create(TableId(1), TableKind::Derived, spec).unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
}

fn rows(device: Vec<Option<&str>>, n: Vec<Option<i32>>, at: Vec<Option<i64>>) -> RecordBatch {
    batch(vec![
        ("at", Arc::new(TimestampNanosecondArray::from(at))),
        ("device", Arc::new(StringArray::from(device))),
        ("n", Arc::new(Int32Array::from(n))),
    ])
}

fn by_time() -> OutputWindow {
    OutputWindow { windows: Windows::daily_utc(), time_column: "at".into(), date: false, per_window: false, start: None }
}

#[test]
fn columns_are_found_by_name_and_cast() {
    let table = table(false);
    let window = by_time();
    let mut encoder = Encoder::new(&table, Some(&window), &[]);
    encoder.push(&rows(vec![Some("b"), Some("a")], vec![Some(3), None], vec![Some(7_000), Some(9_000)]), TimeRange::ALL).unwrap();
    let rows = encoder.finish();
    assert_eq!(rows[0].key, table.key_schema().encode(&[Some(Value::String("a".into()))]).unwrap());
    assert_eq!((rows[0].time, rows[0].cells.len()), (Some(Micros(9)), 1), "null is no cell");
    assert_eq!(rows[1].cells[0].value, Value::Int64(3).to_cell());
    assert_eq!(rows[1].cells[1].value, Value::Timestamp(Micros(7)).to_cell());
}

#[test]
fn a_row_of_nulls_gets_a_marker() {
    let table = table(false);
    let mut encoder = Encoder::new(&table, None, &[]);
    encoder.push(&rows(vec![Some("a")], vec![None], vec![None]), TimeRange::ALL).unwrap();
    let cells = encoder.finish().remove(0).cells;
    assert_eq!((cells.len(), cells[0].qualifier.as_ref(), cells[0].family), (1, ROW_MARKER, table.marker_family()));
}

#[test]
fn duplicates_stay_in_any_order_of_the_output() {
    let table = table(true);
    let keys = |order: &[i32]| {
        let mut encoder = Encoder::new(&table, None, &[]);
        for n in order {
            encoder.push(&rows(vec![Some("a")], vec![Some(*n)], vec![Some(0)]), TimeRange::ALL).unwrap();
        }
        encoder.finish().into_iter().map(|r| r.key).collect::<Vec<_>>()
    };
    let found = keys(&[1, 1, 2, 1]);
    assert_eq!(found, keys(&[2, 1, 1, 1]));
    assert!(found.is_sorted_by(|a, b| a < b));
}

#[test]
fn errors_name_table_column_and_row() {
    let table = table(false);
    let (unique, window) = (["device".to_owned()], by_time());
    let fail = |batch: &RecordBatch| {
        let mut encoder = Encoder::new(&table, Some(&window), &unique);
        encoder.push(&rows(vec![Some("z")], vec![None], vec![Some(0)]), TimeRange::ALL).unwrap();
        encoder.push(batch, TimeRange::ALL).unwrap_err().message
    };
    let twice = fail(&rows(vec![Some("a"), Some("z")], vec![None, None], vec![Some(0), Some(0)]));
    assert!(twice.contains("row 3: has the same unique key as row 1: device = 'z'"), "{twice}");
    let null_key = fail(&rows(vec![None], vec![None], vec![Some(0)]));
    assert!(null_key.contains("row 2: key part 'device'"), "{null_key}");
    let null_time = fail(&rows(vec![Some("a")], vec![None], vec![None]));
    assert!(null_time.contains("time column 'at' is null"), "{null_time}");
    let missing = fail(&batch(vec![("device", Arc::new(StringArray::from(vec!["a"])))]));
    assert!(missing.contains("no column 'n'"), "{missing}");
    let text = fail(&batch(vec![
        ("device", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("n", Arc::new(StringArray::from(vec!["1", "one"]))),
        ("at", Arc::new(Int64Array::from(vec![1, 2]))),
    ]));
    assert!(text.contains("table 'test.table': column 'n': row 3: 'one' does not fit into int64"), "{text}");
}

#[test]
fn a_row_outside_its_piece_fails() {
    let (table, window) = (table(false), by_time());
    let mut encoder = Encoder::new(&table, Some(&window), &[]);
    let piece = TimeRange { start: Micros(0), end: Micros(7) };
    let error = encoder.push(&rows(vec![Some("a")], vec![None], vec![Some(7_000)]), piece).unwrap_err();
    assert!(error.message.contains("row 1: time column 'at' is 1970-01-01T00:00:00.000007Z, outside the window"), "{error}");
}

#[test]
fn nested_output_becomes_json() {
    let list = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let column = TypedColumn::cast(&(Arc::new(list) as ArrayRef), ValueType::Json, 1).unwrap();
    assert_eq!((column.value(0), column.value(1)), (Some(Value::Json("[1,null]".into())), None));
    let mut map = arrow::array::MapBuilder::new(None, arrow::array::StringBuilder::new(), arrow::array::StringBuilder::new());
    map.keys().append_value("a\"b");
    map.values().append_value("{\"x\":1}");
    map.append(true).unwrap();
    let column = TypedColumn::cast(&(Arc::new(map.finish()) as ArrayRef), ValueType::Json, 1).unwrap();
    assert_eq!(column.value(0), Some(Value::Json("{\"a\\\"b\":{\"x\":1}}".into())));
}

#[test]
fn a_date_is_its_midnight() {
    let column = TypedColumn::cast(&(Arc::new(Date32Array::from(vec![1])) as ArrayRef), ValueType::Date, 1).unwrap();
    let window = OutputWindow { date: true, ..by_time() };
    assert_eq!(column.value(0).and_then(|v| instant(&window, &v)), Some(Micros(DAY)));
}
