use super::super::gather::{Piece, gather};
use super::*;
use arrow_array::cast::AsArray;
use proptest::prelude::*;

fn page(values: Values, present: Vec<bool>) -> ColumnPage {
    ColumnPage { present: Some(NullBuffer::from(present)), values, exceptions: Default::default(), memo: Default::default() }
}

/// These rows, each range a piece.
fn rows_of(column: &Column, ty: ValueType, ranges: &[Range<usize>]) -> Result<ArrayRef, usize> {
    if let Some((row, _)) = ranges.iter().find_map(|rows| column.bad_row(rows)) {
        return Err(*row);
    }
    let pieces: Vec<_> = ranges.iter().map(|rows| Piece { column, rows: rows.clone() }).collect();
    Ok(gather(&arrow_type(ty), &pieces, ranges.iter().map(Range::len).sum()).unwrap())
}

fn one_by_one(page: &ColumnPage, ty: ValueType, ranges: &[Range<usize>]) -> Result<ArrayRef, usize> {
    let mut cells = Cells::new(ty);
    for row in ranges.iter().cloned().flatten() {
        if page.is_present(row) {
            let push = |value: &[u8]| {
                cells.push(value);
                Ok(())
            };
            with_value(page, row, push).map_err(|_| row)?;
        } else {
            cells.push_null();
        }
        if !cells.bad.is_empty() {
            return Err(row);
        }
    }
    match cells.finish().form {
        Form::Plain(array) => Ok(array),
        _ => unreachable!("cells are built into an array"),
    }
}

/// Values of each kind, with rows to pick.
fn pages() -> impl Strategy<Value = (ColumnPage, Vec<Range<usize>>)> {
    let item = || (any::<bool>(), 0i64..4, "[aé]{0,3}");
    prop::collection::vec(item(), 1..20).prop_flat_map(|items| {
        let present: Vec<_> = items.iter().map(|i| i.0).collect();
        let number = |i: &(bool, i64, String)| if i.0 { i.1 } else { 0 };
        let fixed = Values::Fixed8(items.iter().map(number).collect::<Vec<_>>().into());
        let bools = Values::Bool(items.iter().map(|i| i.0 && i.1 > 1).collect::<Vec<_>>().into());
        let text = |i: &(bool, i64, String)| if i.0 { i.2.clone() } else { String::new() };
        let texts: Vec<_> = items.iter().map(text).collect();
        let var = Values::Var { offsets: OffsetBuffer::from_lengths(texts.iter().map(String::len)), data: texts.concat().into() };
        let dict = |entries: [&str; 4]| Values::Dict {
            codes: items.iter().map(|i| number(i) as u32).collect::<Vec<_>>().into(),
            offsets: OffsetBuffer::from_lengths(entries.iter().map(|e| e.len())),
            data: entries.concat().into(),
        };
        const LONG: &str = "longer than what is copied at once";
        let (short, first, last) = (dict(["x", "", "éé", "z"]), dict([LONG, "", "éé", "z"]), dict(["x", "éé", "", LONG]));
        let len = items.len();
        let values = prop::sample::select(vec![fixed, bools, var, short, first, last]);
        let range = (0..=len, 0..=len).prop_map(|(a, b)| a.min(b)..a.max(b));
        (values, prop::collection::vec(range, 1..5)).prop_map(move |(values, rows)| (page(values, present.clone()), rows))
    })
}

proptest! {
    #[test]
    fn whole_pages_become_what_their_cells_become((page, ranges) in pages()) {
        for ty in ValueType::ALL {
            let expected = one_by_one(&page, ty, &ranges);
            let own = Column::keep(&page, ty);
            for column in [&Column::of_page(&page, ty), own.as_ref().or(Column::kept(&page, ty)).unwrap()] {
                let got = rows_of(column, ty, &ranges);
                prop_assert_eq!(&got, &expected, "{}", ty);
            }
        }
    }
}

#[test]
fn a_long_piece_is_what_short_ones_are() {
    let numbers: Vec<i64> = (0..2000).map(|n| if n % 3 == 0 { 0 } else { n }).collect();
    let texts: Vec<_> = numbers.iter().map(|n| "é".repeat(*n as usize % 7)).collect();
    let var = Values::Var { offsets: OffsetBuffer::from_lengths(texts.iter().map(String::len)), data: texts.concat().into() };
    for values in [Values::Fixed8(numbers.into()), var] {
        let page = page(values, (0..2000).map(|n| n % 3 != 0).collect());
        for ty in ValueType::ALL {
            let column = Column::of_page(&page, ty);
            for rows in [0..2000, 7..1990] {
                let short: Vec<_> = rows.clone().step_by(10).map(|from| from..(from + 10).min(rows.end)).collect();
                let long = rows_of(&column, ty, std::slice::from_ref(&rows));
                assert_eq!(long, rows_of(&column, ty, &short), "{ty}");
            }
        }
    }
}

#[test]
fn an_absent_column_is_null() {
    for ty in ValueType::ALL {
        let array = rows_of(&Column::ABSENT, ty, std::slice::from_ref(&(3..5))).unwrap();
        assert_eq!((array.len(), array.null_count(), array.data_type()), (2, 2, &arrow_type(ty)));
    }
}

#[test]
fn a_code_outside_its_dictionary_is_damage() {
    let codes = vec![0, 7].into();
    let page = ColumnPage {
        present: None,
        values: Values::Dict { codes, offsets: OffsetBuffer::from_lengths([1]), data: Bytes::from_static(b"a") },
        exceptions: Default::default(),
        memo: Default::default(),
    };
    let column = Column::of_page(&page, ValueType::String);
    assert_eq!(rows_of(&column, ValueType::String, std::slice::from_ref(&(0..2))).unwrap_err(), 1);
    let good = rows_of(&column, ValueType::String, std::slice::from_ref(&(0..1))).unwrap();
    assert_eq!(good.as_string::<i32>().value(0), "a");
}
