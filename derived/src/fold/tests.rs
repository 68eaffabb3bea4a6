use super::rules::MergeColumn;
use super::*;
use common::time::Micros;
use common::value::ValueType;
use proptest::prelude::*;
use std::collections::BTreeMap;

const RULES: [Rule; 7] = [Rule::Latest, Rule::First, Rule::Coalesce, Rule::Min, Rule::Max, Rule::Sum, Rule::Count];

fn rules() -> MergeRules {
    let columns = RULES.iter().map(|&rule| MergeColumn { name: format!("{rule:?}"), rule }).collect();
    MergeRules { key: vec!["k".into()], order_by: Some("o".into()), columns }
}

fn int(n: i64) -> Option<Value> {
    Some(Value::Int64(n))
}

/// A raw row: window, order within it, the value that every column takes.
type Raw = (i64, i64, Option<i64>);

fn part_of(window: i64, rows: &[Raw]) -> Option<Part> {
    let of_window = rows.iter().filter(|r| r.0 == window);
    rules().part(of_window.map(|&(_, o, v)| (int(o), vec![v.map(Value::Int64); RULES.len()])).collect())
}

/// The answer from all rows at once.
fn at_once(rows: &[Raw]) -> Option<Values> {
    let mut rows = rows.to_vec();
    rows.sort();
    let known: Vec<i64> = rows.iter().filter_map(|r| r.2).collect();
    Some(vec![
        rows.last()?.2.map(Value::Int64),
        rows.first()?.2.map(Value::Int64),
        known.last().copied().map(Value::Int64),
        known.iter().min().copied().map(Value::Int64),
        known.iter().max().copied().map(Value::Int64),
        (!known.is_empty()).then(|| Value::Int64(known.iter().sum())),
        int(known.len() as i64),
    ])
}

fn rows() -> impl Strategy<Value = Vec<Raw>> {
    prop::collection::vec((0i64..4, 0i64..5, prop::option::of(-9i64..9)), 0..12)
}

proptest! {
    #[test]
    fn a_fold_of_parts_equals_the_rows_at_once(rows in rows()) {
        prop_assert_eq!(rules().fold((0..4).filter_map(|w| part_of(w, &rows))), at_once(&rows));
    }

    #[test]
    fn re_runs_and_removals_in_any_order_are_exact(states in prop::collection::vec((rows(), 0i64..4), 1..8)) {
        // Each step changes all raw rows of one window and runs that window again.
        let (mut raw, mut parts): (Vec<Raw>, BTreeMap<Vec<u8>, Vec<u8>>) = Default::default();
        for (rows, window) in states {
            raw.retain(|r| r.0 != window);
            raw.extend(rows.into_iter().filter(|r| r.0 == window));
            let qualifier = Part::qualifier(Micros(window - 2)).to_vec();
            match part_of(window, &raw) {
                Some(part) => parts.insert(qualifier, part.encode().unwrap().to_vec()),
                None => parts.remove(&qualifier),
            };
            let stored = parts.values().map(|cell| Part::decode(cell).unwrap());
            prop_assert_eq!(rules().fold(stored), at_once(&raw));
        }
    }
}

#[test]
fn a_key_without_parts_is_gone() {
    assert_eq!(rules().fold([]), None);
    assert_eq!(rules().part(Vec::new()), None);
}

#[test]
fn parts_keep_every_bit() {
    let part = Part(vec![Some(Value::Float64(-0.0)), Some(Value::Float64(f64::NAN)), None, Some(Value::Bytes(vec![0, 255].into()))]);
    let back = Part::decode(&part.encode().unwrap()).unwrap();
    assert_eq!(format!("{back:?}"), format!("{part:?}"));
    for t in [Micros::MIN, Micros(-1), Micros(7)] {
        assert_eq!(Part::window(&Part::qualifier(t)).unwrap(), t);
    }
    assert!(Part::decode(b"[{").is_err() && Part::window(b"short").is_err());
}

#[test]
fn rules_refuse_types_that_they_cannot_fold() {
    assert_eq!(Rule::Count.output(ValueType::String), Ok(ValueType::Int64));
    assert!(Rule::Sum.output(ValueType::String).unwrap_err().contains("sum takes"));
    assert!(Rule::Min.output(ValueType::Json).is_err());
}
