//! Leaving blocks out by what the index says of their values.

use super::block::Shape;
use super::check::{Check, total_order};
use super::needs::Binding;
use crate::sstable::{IndexEntry, PREFIX_BYTES, ValueBounds};
use std::cmp::Ordering;

/// Whether some row of a block may pass the conditions on columns. What is known is of all versions in the block, so it
/// holds for whichever of them a scan shows.
pub(super) fn may_pass(shape: &Shape, binding: &Binding, entry: &IndexEntry) -> bool {
    let mut conditions = shape.filter.columns.iter().zip(&shape.needs.conditions);
    conditions.all(|(condition, need)| {
        let absent = condition.check == Check::Null(true);
        match binding.columns[*need] {
            None => !binding.complete || absent,
            Some(place) if !binding.bounded.get(place as usize).is_some_and(|bounded| *bounded) => true,
            Some(place) => match entry.values.iter().find(|v| v.place == place) {
                Some(known) => check_may_pass(&condition.check, &known.values),
                None => absent,
            },
        }
    })
}

fn check_may_pass(check: &Check, bounds: &ValueBounds) -> bool {
    match (check, bounds) {
        (Check::Int(c), ValueBounds::Int(lowest, highest)) => c.may_pass(|v| lowest.cmp(v), |v| highest.cmp(v)),
        (Check::Float(c), ValueBounds::Float(lowest, highest)) => {
            c.may_pass(|v| total_order(*lowest).cmp(v), |v| total_order(*highest).cmp(v))
        }
        (Check::Bool(c), ValueBounds::Bool(lowest, highest)) => c.may_pass(|v| lowest.cmp(v), |v| highest.cmp(v)),
        (Check::Bytes(c), ValueBounds::Prefix(lowest, highest)) => {
            c.may_pass(|v| lowest.as_ref().cmp(v.as_slice()), |v| of_highest(highest, v))
        }
        // A version that shows may be newer than what is known to be there, or nothing is known.
        _ => true,
    }
}

/// The order against `v` of a value of which only the first bytes are known: as high as it may be.
fn of_highest(prefix: &[u8], v: &[u8]) -> Ordering {
    if prefix.len() < PREFIX_BYTES {
        return prefix.cmp(v);
    }
    match prefix.cmp(&v[..v.len().min(PREFIX_BYTES)]) {
        Ordering::Equal => Ordering::Greater,
        order => order,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrow::check::Condition;
    use crate::arrow::spec::Comparison;
    use bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_with_a_text_that_passes_is_never_left_out(
            texts in prop::collection::vec("a{14,17}b?", 1..4),
            v in "a{14,17}b?",
            comparison in prop::sample::select(vec![Comparison::Eq, Comparison::NotEq, Comparison::Lt, Comparison::LtEq, Comparison::Gt, Comparison::GtEq]),
        ) {
            let check = Check::Bytes(Condition::Compare(comparison, v.into_bytes()));
            let cut = |t: Option<&String>| Bytes::copy_from_slice(&t.unwrap().as_bytes()[..t.unwrap().len().min(PREFIX_BYTES)]);
            let bounds = ValueBounds::Prefix(cut(texts.iter().min()), cut(texts.iter().max()));
            if texts.iter().any(|t| check.passes(Some(common::key::PartRef::Text(t)))) {
                prop_assert!(check_may_pass(&check, &bounds));
            }
        }
    }
}
