//! A predicate's test in the form in which it is run: against one value, or a whole page of them.

use super::spec::{Comparison, Test};
use arrow_buffer::BooleanBuffer;
use common::key::PartRef;
use common::value::{Value, ValueType};
use common::{Error, Result};
use std::cmp::Ordering;

/// A test on values of one type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Check {
    /// Whether null is what is wanted.
    Null(bool),
    /// Integers, instants and days.
    Int(Condition<i64>),
    /// Floats by their [`total_order`].
    Float(Condition<i64>),
    Bool(Condition<bool>),
    /// Text, JSON and bytes.
    Bytes(Condition<Vec<u8>>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition<T> {
    Compare(Comparison, T),
    /// Sorted.
    In(Vec<T>),
}

/// Integers that sort as floats do in IEEE 754's total order.
pub(super) fn total_order(f: f64) -> i64 {
    let bits = f.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl Comparison {
    fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order == Ordering::Equal,
            Self::NotEq => order != Ordering::Equal,
            Self::Lt => order == Ordering::Less,
            Self::LtEq => order != Ordering::Greater,
            Self::Gt => order == Ordering::Greater,
            Self::GtEq => order != Ordering::Less,
        }
    }
}

impl<T: Ord> Condition<T> {
    fn of(test: &Test, value: impl Fn(&Value) -> Option<T>) -> Option<Self> {
        Some(match test {
            Test::Compare(comparison, v) => Self::Compare(*comparison, value(v)?),
            Test::In(list) => {
                let mut list = list.iter().map(value).collect::<Option<Vec<_>>>()?;
                list.sort();
                Self::In(list)
            }
            Test::IsNull | Test::IsNotNull => return None,
        })
    }

    /// Whether a value with this order against a given one passes.
    pub(super) fn accepts_by(&self, order: impl Fn(&T) -> Ordering) -> bool {
        match self {
            Self::Compare(comparison, v) => comparison.accepts(order(v)),
            // The list is sorted; the order of the value against its items is the reverse of theirs against it.
            Self::In(list) => list.binary_search_by(|v| order(v).reverse()).is_ok(),
        }
    }

    /// Whether some value of `[lowest, highest]`, given by their orders, may pass.
    pub(super) fn may_pass(&self, lowest: impl Fn(&T) -> Ordering, highest: impl Fn(&T) -> Ordering) -> bool {
        let inside = |v: &T| lowest(v) != Ordering::Greater && highest(v) != Ordering::Less;
        match self {
            Self::In(list) => list.iter().any(inside),
            Self::Compare(Comparison::Eq, v) => inside(v),
            Self::Compare(Comparison::NotEq, v) => lowest(v) != Ordering::Equal || highest(v) != Ordering::Equal,
            Self::Compare(Comparison::Lt, v) => lowest(v) == Ordering::Less,
            Self::Compare(Comparison::LtEq, v) => lowest(v) != Ordering::Greater,
            Self::Compare(Comparison::Gt, v) => highest(v) == Ordering::Greater,
            Self::Compare(Comparison::GtEq, v) => highest(v) != Ordering::Less,
        }
    }
}

impl<T: Ord + Copy> Condition<T> {
    /// Which of `len` values pass.
    pub(super) fn mask(&self, len: usize, value: impl Fn(usize) -> T) -> BooleanBuffer {
        match self {
            Self::Compare(Comparison::Eq, v) => BooleanBuffer::collect_bool(len, |i| value(i) == *v),
            Self::Compare(Comparison::NotEq, v) => BooleanBuffer::collect_bool(len, |i| value(i) != *v),
            Self::Compare(Comparison::Lt, v) => BooleanBuffer::collect_bool(len, |i| value(i) < *v),
            Self::Compare(Comparison::LtEq, v) => BooleanBuffer::collect_bool(len, |i| value(i) <= *v),
            Self::Compare(Comparison::Gt, v) => BooleanBuffer::collect_bool(len, |i| value(i) > *v),
            Self::Compare(Comparison::GtEq, v) => BooleanBuffer::collect_bool(len, |i| value(i) >= *v),
            Self::In(list) => BooleanBuffer::collect_bool(len, |i| list.binary_search(&value(i)).is_ok()),
        }
    }
}

impl Check {
    /// The test on a column of this type.
    ///
    /// # Errors
    /// `InvalidArgument` if it compares with a value of another type.
    pub(super) fn new(test: &Test, ty: ValueType) -> Result<Self> {
        if let Test::IsNull | Test::IsNotNull = test {
            return Ok(Self::Null(*test == Test::IsNull));
        }
        let check = match ty {
            ValueType::Int64 | ValueType::Timestamp | ValueType::Date => Condition::of(test, |v| int(ty, v)).map(Self::Int),
            ValueType::Float64 => {
                Condition::of(test, |v| if let Value::Float64(f) = v { Some(total_order(*f)) } else { None }).map(Self::Float)
            }
            ValueType::Bool => Condition::of(test, |v| if let Value::Bool(b) = v { Some(*b) } else { None }).map(Self::Bool),
            ValueType::String | ValueType::Json | ValueType::Bytes => Condition::of(test, |v| bytes(ty, v)).map(Self::Bytes),
        };
        check.ok_or_else(|| Error::invalid(format!("it is of type {ty}; {test:?} compares with another")))
    }

    /// Whether a value passes.
    pub(super) fn passes(&self, value: Option<PartRef<'_>>) -> bool {
        match (self, value) {
            (Self::Null(wanted), value) => value.is_none() == *wanted,
            (_, None) => false,
            (Self::Int(c), Some(PartRef::Int(n))) => c.accepts_by(|v| n.cmp(v)),
            (Self::Float(c), Some(PartRef::Float(f))) => c.accepts_by(|v| total_order(f).cmp(v)),
            (Self::Bool(c), Some(PartRef::Bool(b))) => c.accepts_by(|v| b.cmp(v)),
            (Self::Bytes(c), Some(PartRef::Text(s))) => c.accepts_by(|v| s.as_bytes().cmp(v)),
            (Self::Bytes(c), Some(PartRef::Bytes(b))) => c.accepts_by(|v| b.cmp(v)),
            // A check is made for its column's type.
            (_, Some(_)) => false,
        }
    }
}

fn int(ty: ValueType, value: &Value) -> Option<i64> {
    match (ty, value) {
        (ValueType::Int64, Value::Int64(n)) => Some(*n),
        (ValueType::Timestamp, Value::Timestamp(t)) => Some(t.0),
        (ValueType::Date, Value::Date(d)) => Some(i64::from(*d)),
        _ => None,
    }
}

fn bytes(ty: ValueType, value: &Value) -> Option<Vec<u8>> {
    match (ty, value) {
        (ValueType::String | ValueType::Json, Value::String(s) | Value::Json(s)) => Some(s.as_bytes().to_vec()),
        (ValueType::Bytes, Value::Bytes(b)) => Some(b.to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Comparison; 6] = [Comparison::Eq, Comparison::NotEq, Comparison::Lt, Comparison::LtEq, Comparison::Gt, Comparison::GtEq];

    fn condition() -> impl Strategy<Value = Condition<i64>> {
        let compare = (prop::sample::select(ALL.to_vec()), 0i64..6).prop_map(|(c, v)| Condition::Compare(c, v));
        let list = prop::collection::vec(0i64..6, 0..4).prop_map(|mut list| {
            list.sort_unstable();
            Condition::In(list)
        });
        prop_oneof![compare, list]
    }

    proptest! {
        #[test]
        fn masks_statistics_and_single_values_agree(condition in condition(), values in prop::collection::vec(0i64..6, 1..70)) {
            let single: Vec<_> = values.iter().map(|n| condition.accepts_by(|v| n.cmp(v))).collect();
            let mask = condition.mask(values.len(), |i| values[i]);
            prop_assert_eq!(mask.iter().collect::<Vec<_>>(), single.clone());
            let (lowest, highest) = (values.iter().min().unwrap(), values.iter().max().unwrap());
            if single.contains(&true) {
                prop_assert!(condition.may_pass(|v| lowest.cmp(v), |v| highest.cmp(v)));
            }
        }

        #[test]
        fn floats_sort_in_total_order(a: f64, b: f64) {
            prop_assert_eq!(total_order(a).cmp(&total_order(b)), a.total_cmp(&b));
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let e = Check::new(&Test::Compare(Comparison::Eq, Value::Int64(1)), ValueType::String).unwrap_err();
        assert!(e.message.contains("string") && e.message.contains("Int64(1)"), "{e}");
        assert!(Check::new(&Test::In(vec![Value::Bool(true), Value::Int64(1)]), ValueType::Bool).is_err());
    }

    #[test]
    fn null_passes_only_the_test_for_null() {
        for test in [Test::IsNotNull, Test::In(vec![]), Test::Compare(Comparison::NotEq, Value::Int64(1))] {
            assert!(!Check::new(&test, ValueType::Int64).unwrap().passes(None));
        }
        assert!(Check::new(&Test::IsNull, ValueType::Int64).unwrap().passes(None));
    }
}
