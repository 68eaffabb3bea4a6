use super::*;
use common::ids::{FamilyId, TableId};
use common::row::Cell;
use common::schema::{ColumnSpec, DATA_FAMILY, KeyPartSpec, TableKind, TableSpec};
use common::value::{Value, ValueType};
use derived::window::Windows;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Key → (time, value).
type Model = BTreeMap<i64, (i64, i64)>;

fn by_time() -> OutputWindow {
    OutputWindow { windows: Windows::daily_utc(), time_column: "at".into(), date: false, per_window: false, start: None }
}

fn table() -> Table {
    let part = |name: &str| KeyPartSpec { name: name.into(), ty: ValueType::Int64, descending: false, nullable: false, hidden: false };
    let column = |name: &str, ty| ColumnSpec { name: name.into(), ty, family: DATA_FAMILY.into(), qualifier: None };
    let spec = TableSpec {
        key: vec![part("id")],
        columns: vec![column("at", ValueType::Timestamp), column("n", ValueType::Int64)],
        time_column: Some("at".into()),
        undeclared: Some("none".into()),
        ..TableSpec::named("test.table")
    };
    Table::create(TableId(1), TableKind::Derived, spec).unwrap()
}

fn output(table: &Table, id: i64, (at, n): (i64, i64)) -> OutputRow {
    let cell = |name: &str, value: Value| {
        let column = table.column(name).unwrap();
        crate::rows::arrow::OutputCell { family: column.family, qualifier: column.stored(), value: value.to_cell() }
    };
    OutputRow {
        key: table.key_schema().encode(&[Some(Value::Int64(id))]).unwrap(),
        cells: vec![cell("at", Value::Timestamp(Micros(at))), cell("n", Value::Int64(n))],
        time: Some(Micros(at)),
    }
}

fn stored(row: OutputRow) -> Row {
    let cell = |c: crate::rows::arrow::OutputCell| Cell { family: c.family, qualifier: c.qualifier, timestamp: Micros(5), value: c.value };
    Row { key: row.key, cells: row.cells.into_iter().map(cell).collect() }
}

fn compare(scope: Scope, base: &Model, new: &Model) -> Result<Difference> {
    let table = table();
    let rows = new.iter().map(|(id, v)| output(&table, *id, *v)).collect();
    let mut comparison = Comparison::new(&table, scope, rows, Micros(9))?;
    base.iter().try_for_each(|(id, v)| comparison.stored(stored(output(&table, *id, *v))))?;
    Ok(comparison.finish())
}

/// What a table holds after mutations that each replace or delete a row.
fn apply(base: &Model, mutations: &[RowMutation]) -> Model {
    let table = table();
    let mut rows: BTreeMap<_, _> = base.iter().map(|(id, v)| (output(&table, *id, *v).key, (*id, *v))).collect();
    for m in mutations {
        assert_eq!(m.mutations[0], Mutation::DeleteRow);
        let value = |at: usize| match &m.mutations[at] {
            Mutation::Set { value, family: FamilyId(1), .. } => i64::from_be_bytes(value.as_ref().try_into().unwrap()),
            other => panic!("{other:?}"),
        };
        let Some(Value::Int64(id)) = table.key_schema().decode(&m.key).unwrap()[0] else { panic!("key") };
        match m.mutations.len() {
            1 => assert!(rows.remove(&m.key).is_some(), "deletes what is not there"),
            _ => {
                assert_ne!(rows.insert(m.key.clone(), (id, (value(1), value(2)))), Some((id, (value(1), value(2)))), "writes what is there")
            }
        }
    }
    rows.into_values().collect()
}

fn models() -> impl Strategy<Value = Model> {
    proptest::collection::btree_map(0i64..12, (0i64..30, 0i64..3), 0..10)
}

proptest! {
    #[test]
    fn applying_the_difference_gives_the_output(base in models(), new in models()) {
        let found = compare(Scope::Whole, &base, &new).unwrap();
        prop_assert!(found.mutations.is_sorted_by(|a, b| a.key < b.key));
        prop_assert_eq!(apply(&base, &found.mutations), new);
    }

    #[test]
    fn rows_outside_the_windows_stay(base in models(), new in models()) {
        let windows: RangeSet = [(Micros(0), Micros(10)), (Micros(20), Micros(30))].into_iter().collect();
        let inside = |(_, (at, _)): &(&i64, &(i64, i64))| holds(&windows, Micros(*at));
        let outside: Model = base.iter().filter(|r| !inside(r)).map(|(k, v)| (*k, *v)).collect();
        let new: Model = new.iter().filter(inside).filter(|(k, _)| !outside.contains_key(k)).map(|(k, v)| (*k, *v)).collect();
        let found = compare(Scope::Windows(&windows, &by_time()), &base, &new).unwrap();
        let mut want = outside;
        want.extend(new.clone());
        prop_assert_eq!(apply(&base, &found.mutations), want);
        prop_assert_eq!(found.after.len(), new.len());
    }
}

#[test]
fn an_equal_output_stages_nothing() {
    let rows: Model = [(1, (5, 2)), (2, (6, 0))].into();
    let found = compare(Scope::Whole, &rows, &rows).unwrap();
    assert!(found.mutations.is_empty());
    assert_eq!(found.before.iter().map(|i| i.checksum).collect::<Vec<_>>(), found.after.iter().map(|i| i.checksum).collect::<Vec<_>>());
}

#[test]
fn two_rows_with_one_key_fail_and_are_named() {
    let table = table();
    let rows = vec![output(&table, 7, (1, 1)), output(&table, 7, (2, 2))];
    let error = Comparison::new(&table, Scope::Whole, rows, Micros(0)).err().unwrap();
    assert!(error.message.contains("(id = 7)"), "{error}");
}

#[test]
fn a_key_of_another_window_is_not_taken_over() {
    let windows = RangeSet::of(Micros(0), Micros(10));
    let error = compare(Scope::Windows(&windows, &by_time()), &[(1, (20, 0))].into(), &[(1, (5, 0))].into()).unwrap_err();
    assert!(error.message.contains("already taken"), "{error}");
}
