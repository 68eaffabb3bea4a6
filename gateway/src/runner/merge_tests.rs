use super::*;
use common::ids::TableId;
use common::row::Cell;
use common::schema::{ColumnSpec, DATA_FAMILY, FamilySpec, KeyPartSpec, TableKind, TableSpec};
use common::value::{Value, ValueType};
use proptest::prelude::*;

/// Shows the sum of the parts' first bytes, in two columns: one always, one only when it is even.
struct Sum<'a>(&'a Table);

impl FoldParts for Sum<'_> {
    fn fold(&self, parts: &Parts) -> Result<Vec<OutputCell>> {
        let sum: i64 = parts.values().map(|p| i64::from(p[0])).sum();
        let cell = |name: &str| {
            let column = self.0.column(name).unwrap();
            OutputCell { family: column.family, qualifier: column.stored(), value: Value::Int64(sum).to_cell() }
        };
        Ok(if sum % 2 == 0 { vec![cell("sum"), cell("even")] } else { vec![cell("sum")] })
    }
}

/// Key → window → part.
type Model = BTreeMap<u8, BTreeMap<i64, u8>>;

fn table() -> Table {
    let part = KeyPartSpec { name: "id".into(), ty: ValueType::Int64, descending: false, nullable: false, hidden: false };
    let column = |name: &str| ColumnSpec { name: name.into(), ty: ValueType::Int64, family: DATA_FAMILY.into(), qualifier: None };
    let spec = TableSpec {
        key: vec![part],
        columns: vec![column("sum"), column("even")],
        families: [(Part::FAMILY.to_owned(), FamilySpec { gc: None, hidden: true })].into(),
        undeclared: Some("none".into()),
        ..TableSpec::named("test.table")
    };
    Table::create(TableId(1), TableKind::Derived, spec).unwrap()
}

fn parts(model: &BTreeMap<i64, u8>) -> Parts {
    model.iter().map(|(w, p)| (Micros(*w), Bytes::copy_from_slice(&[*p]))).collect()
}

/// Rows as a table holds them: key → cells by column.
type Stored = BTreeMap<Bytes, BTreeMap<(FamilyId, Bytes), Bytes>>;

fn stored(table: &Table, model: &Model) -> Stored {
    let family = table.family(Part::FAMILY).unwrap().id;
    let row = |(id, windows): (&u8, &BTreeMap<i64, u8>)| {
        let parts = parts(windows);
        let shown = Sum(table).fold(&parts).unwrap().into_iter().map(|c| ((c.family, c.qualifier), c.value));
        let hidden = parts.iter().map(|(w, p)| ((family, qualifier_of(*w)), p.clone()));
        (key(table, *id), shown.chain(hidden).collect())
    };
    model.iter().map(row).collect()
}

fn key(table: &Table, id: u8) -> Bytes {
    table.key_schema().encode(&[Some(Value::Int64(id.into()))]).unwrap()
}

fn apply(rows: &mut Stored, changes: Vec<RowMutation>) {
    for change in changes {
        let row = rows.entry(change.key.clone()).or_default();
        for mutation in change.mutations {
            match mutation {
                Mutation::DeleteRow => row.clear(),
                Mutation::DeleteColumn { family, qualifier, .. } => drop(row.remove(&(family, qualifier))),
                Mutation::Set { family, qualifier, value, .. } => {
                    assert_eq!(row.insert((family, qualifier), value), None, "sets what it has not deleted");
                }
                Mutation::Combine { .. } | Mutation::DeleteFamily { .. } => panic!("not used"),
            }
        }
        if row.is_empty() {
            rows.remove(&change.key);
        }
    }
}

fn models() -> impl Strategy<Value = Model> {
    proptest::collection::btree_map(0u8..6, proptest::collection::btree_map(0i64..6, 0u8..4, 1..5), 0..5)
}

proptest! {
    #[test]
    fn swapping_the_parts_of_windows_equals_folding_everything_anew(old in models(), new in models(), start in 0i64..6, len in 1i64..6) {
        let table = table();
        let windows = RangeSet::of(Micros(start), Micros(start + len));
        let inside = |w: &i64| holds(&windows, Micros(*w));
        let (mut output, mut want) = (BTreeMap::new(), Model::new());
        for id in 0u8..6 {
            let none = BTreeMap::new();
            let computed: BTreeMap<i64, u8> = new.get(&id).unwrap_or(&none).iter().filter(|(w, _)| inside(w)).map(|(w, p)| (*w, *p)).collect();
            let mut all: BTreeMap<i64, u8> = old.get(&id).unwrap_or(&none).iter().filter(|(w, _)| !inside(w)).map(|(w, p)| (*w, *p)).collect();
            if !computed.is_empty() {
                output.insert(key(&table, id), parts(&computed));
            }
            all.extend(computed);
            if !all.is_empty() {
                want.insert(id, all);
            }
        }
        let mut rows = stored(&table, &old);
        let fold = Sum(&table);
        let mut comparison = PartsComparison::new(&table, &windows, output, &fold, Micros(1)).unwrap();
        for (key, cells) in &rows {
            let cell = |((family, qualifier), value): (&(FamilyId, Bytes), &Bytes)| Cell { family: *family, qualifier: qualifier.clone(), timestamp: Micros(9), value: value.clone() };
            comparison.stored(Row { key: key.clone(), cells: cells.iter().map(cell).collect() }).unwrap();
        }
        let found = comparison.finish().unwrap();
        let unchanged = rows == stored(&table, &want);
        prop_assert_eq!(found.mutations.is_empty(), unchanged);
        apply(&mut rows, found.mutations);
        prop_assert_eq!(rows, stored(&table, &want));
    }
}
