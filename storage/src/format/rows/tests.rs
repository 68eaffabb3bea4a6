use super::*;
use crate::format::row::{CellKind, Delete, StoredCell};
use common::row::{Mutation, RowMutation};
use common::time::TimeRange;
use proptest::prelude::*;

const NOW: Micros = Micros(1_700_000_000_000_000);

fn small() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..6).prop_map(Bytes::from)
}

fn time() -> impl Strategy<Value = Micros> {
    prop_oneof![Just(NOW), any::<i64>().prop_map(Micros)]
}

fn cell() -> impl Strategy<Value = StoredCell> {
    let kind = prop_oneof![3 => Just(0u8), 1 => 0u8..4].prop_map(|n| CellKind::of(n).unwrap());
    (0u32..3, small(), time(), kind, small()).prop_map(|(family, qualifier, timestamp, kind, value)| StoredCell {
        family: FamilyId(family),
        qualifier,
        timestamp,
        kind,
        value,
    })
}

fn delete() -> impl Strategy<Value = Delete> {
    prop_oneof![
        Just(Delete::Row),
        any::<u32>().prop_map(|f| Delete::Family(FamilyId(f))),
        (any::<u32>(), small(), time(), time()).prop_map(|(f, qualifier, start, end)| Delete::Column {
            family: FamilyId(f),
            qualifier,
            start,
            end
        }),
    ]
}

fn rows() -> impl Strategy<Value = Vec<StoredRow>> {
    let row = (small(), prop::collection::vec(delete(), 0..3), prop::collection::vec(cell(), 0..30));
    prop::collection::vec(row.prop_map(|(key, deletes, cells)| StoredRow { key, deletes, cells }), 0..6)
}

fn set(q: u8, t: i64, value: &'static str) -> Mutation {
    Mutation::Set {
        family: FamilyId(1),
        qualifier: Bytes::copy_from_slice(&[q]),
        timestamp: (t != 0).then_some(Micros(t)),
        value: Bytes::from_static(value.as_bytes()),
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let times = prop_oneof![Just(TimeRange::ALL), Just(TimeRange { start: Micros(2), end: Micros(9) })];
    prop_oneof![
        8 => (0u8..30, prop_oneof![3 => Just(0i64), 1 => 1i64..12], prop::sample::select(vec!["", "a", "value"])).prop_map(|(q, t, v)| set(q, t, v)),
        1 => (0u8..30, times).prop_map(|(q, timestamps)| Mutation::DeleteColumn { family: FamilyId(1), qualifier: Bytes::copy_from_slice(&[q]), timestamps }),
        1 => Just(Mutation::DeleteFamily { family: FamilyId(1) }),
        1 => Just(Mutation::DeleteRow),
    ]
}

fn stored(rows: &Rows, given: Micros) -> Vec<StoredRow> {
    rows.iter(given).map(|r| r.to_stored()).collect()
}

fn again(rows: &Rows) -> Rows {
    Rows::decode(Bytes::copy_from_slice(rows.columns.encoded()), rows.data.clone()).unwrap()
}

proptest! {
    #[test]
    fn rows_come_back(list in rows(), given in time()) {
        let rows = Rows::of(&list, given);
        prop_assert_eq!(stored(&rows, given), list.clone());
        let read = again(&rows);
        prop_assert_eq!(&read.places, &rows.places);
        prop_assert_eq!(stored(&read, given), list);
    }

    #[test]
    fn a_draft_becomes_what_reducing_makes_of_it(list in prop::collection::vec(prop::collection::vec(mutation(), 1..6), 1..6)) {
        let mutations = |(i, mutations): (usize, &Vec<Mutation>)| RowMutation { key: Bytes::from(format!("{i}")), mutations: mutations.clone() };
        let (mut draft, mut reduced) = (Draft::default(), Vec::new());
        for row in list.iter().enumerate().map(mutations) {
            reduced.push(StoredRow::reduce(row.clone(), Micros(5)));
            draft.push(row);
        }
        let weight = draft.weight();
        let rows = draft.finish(Micros(5));
        prop_assert_eq!(stored(&rows, Micros(5)), reduced.clone());
        prop_assert_eq!(stored(&again(&rows), Micros(5)), reduced);
        prop_assert!(rows.weight() <= weight + rows.columns.weight());
    }

    #[test]
    fn damage_is_an_error_or_other_rows(list in rows(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let rows = Rows::of(&list, NOW);
        for (columns, data) in [(true, false), (false, true)] {
            let damage = |bytes: &[u8], really: bool| {
                let mut bytes = bytes.to_vec();
                if really && !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] ^= 1 << bit;
                }
                Bytes::from(bytes)
            };
            if let Ok(rows) = Rows::decode(damage(rows.columns.encoded(), columns), damage(&rows.data, data)) {
                stored(&rows, NOW);
            }
        }
        if !rows.data.is_empty() {
            let columns = Bytes::copy_from_slice(rows.columns.encoded());
            let cut = cut.index(rows.data.len());
            prop_assert!(Rows::decode(columns, rows.data.slice(..cut)).map_or(true, |r| r.len() < rows.len()));
        }
    }
}

#[test]
fn rows_of_one_shape_name_their_columns_once() {
    let row =
        |_| RowMutation { key: Bytes::from_static(b"key"), mutations: vec![set(1, 0, "value"), set(2, 0, "value"), set(3, 0, "value")] };
    let encoded = |n: usize| {
        let mut draft = Draft::default();
        (0..n).map(row).for_each(|row| draft.push(row));
        draft.finish(NOW)
    };
    let (one, ten) = (encoded(1), encoded(10));
    assert_eq!(one.columns, ten.columns);
    // Key with its length, a head, and of each cell its column, length and value.
    assert_eq!(ten.data.len() - one.data.len(), 9 * (4 + 1 + 3 * 7));
}

#[test]
fn batches_of_one_shape_share_their_columns() {
    let rows = |q| {
        let mut draft = Draft::default();
        draft.push(RowMutation { key: Bytes::from_static(b"k"), mutations: vec![set(q, 0, "v")] });
        draft.finish(NOW)
    };
    let (shapes, mut a, mut b, mut c) = (Shapes::default(), rows(1), rows(1), rows(2));
    [&mut a, &mut b, &mut c].into_iter().for_each(|rows| rows.share(&shapes));
    assert_eq!((a.shared, b.shared, c.shared), (false, true, false));
    assert!(Arc::ptr_eq(&a.columns, &b.columns) && !Arc::ptr_eq(&a.columns, &c.columns));
}

#[test]
fn a_batch_begins_with_the_columns_of_the_one_before() {
    let shapes = Shapes::default();
    let batch = |columns: &[u8]| {
        let rows = [RowMutation { key: Bytes::from_static(b"k"), mutations: columns.iter().map(|q| set(*q, 0, "v")).collect() }];
        let mut draft = Draft::for_rows(&rows, &shapes);
        rows.clone().into_iter().for_each(|row| draft.push(row));
        let made = draft.finish(NOW);
        made.hand_on(&shapes);
        assert_eq!(stored(&made, NOW), rows.map(|row| StoredRow::reduce(row, NOW)));
        (made.columns.len(), made.shared)
    };
    assert_eq!(batch(&[1, 3, 4]), (3, false));
    assert_eq!(batch(&[3, 4]), (3, true));
    assert_eq!(batch(&[1, 2, 3, 4]), (4, false));
    assert_eq!(batch(&[2, 4]), (4, true));
    // Too few of them: the next one begins anew.
    assert_eq!(batch(&[2]), (4, true));
    assert_eq!(batch(&[2]), (1, false));
}
