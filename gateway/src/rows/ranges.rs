//! Key ranges from what is known about key parts: values of the leading ones, bounds of the next.
//!
//! Encoded parts compare as their values do and none is a prefix of another, so "this part is at least v"
//! is a range of bytes. A descending part turns the range around; nulls of a nullable part lie at the far end.

use bytes::Bytes;
use common::key::{KeyRange, prefix_end};
use common::schema::KeySchema;
use common::value::Value;
use common::{Error, Result};
use std::ops::Bound;

/// More combinations of leading values than this are not made into ranges.
pub const MOST_RANGES: usize = 1024;

/// What one key part may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Allowed {
    /// One of these; null is a value of a nullable part.
    OneOf(Vec<Option<Value>>),
    /// Not null and between these.
    Between(Bound<Value>, Bound<Value>),
}

/// The keys whose leading parts are as `allowed` says, part by part; `Between` may only come last.
///
/// # Errors
/// `InvalidArgument` for values that are none of their part, for more than [`MOST_RANGES`] combinations, and for
/// more parts than the key has.
pub fn key_ranges(keys: KeySchema<'_>, allowed: &[Allowed]) -> Result<Vec<KeyRange>> {
    let mut prefixes: Vec<Vec<Option<Value>>> = vec![Vec::new()];
    let mut last = None;
    for part in allowed {
        match part {
            _ if last.is_some() => return Err(Error::invalid("only the last of the given key parts may have bounds")),
            Allowed::OneOf(values) => prefixes = combined(&prefixes, values)?,
            Allowed::Between(lower, upper) => last = Some((lower, upper)),
        }
    }
    let mut ranges = Vec::with_capacity(prefixes.len());
    for values in &prefixes {
        let prefix = keys.encode_prefix(values)?;
        ranges.extend(match last {
            None => Some(KeyRange::prefix(&prefix)),
            Some((lower, upper)) => between(keys, values.len(), &prefix, lower, upper)?,
        });
    }
    Ok(ranges)
}

fn combined(prefixes: &[Vec<Option<Value>>], values: &[Option<Value>]) -> Result<Vec<Vec<Option<Value>>>> {
    if prefixes.len() * values.len() > MOST_RANGES {
        return Err(Error::invalid(format!("more than {MOST_RANGES} combinations of key values")));
    }
    let with = |prefix: &Vec<_>, value: &Option<Value>| prefix.iter().chain([value]).cloned().collect();
    Ok(prefixes.iter().flat_map(|p| values.iter().map(move |v| with(p, v))).collect())
}

/// The keys that begin with `prefix` and whose part number `at` lies between the bounds; `None` if there are none.
fn between(keys: KeySchema<'_>, at: usize, prefix: &[u8], lower: &Bound<Value>, upper: &Bound<Value>) -> Result<Option<KeyRange>> {
    let codec = keys.parts().get(at).map(|p| p.codec).ok_or_else(|| Error::invalid("bounds behind the last key part"))?;
    let encoded = |value: &Value| {
        let mut out = prefix.to_vec();
        codec.encode(Some(value), &mut out).map(|()| out).map_err(|e| e.context(format!("key part '{}'", keys.parts()[at].name)))
    };
    let (first, last) = if codec.descending { (upper, lower) } else { (lower, upper) };
    let mut range = if codec.nullable { non_null(prefix, codec.descending) } else { KeyRange::prefix(prefix) };
    let start = match first {
        Bound::Included(v) => Some(Bytes::from(encoded(v)?)),
        Bound::Excluded(v) => prefix_end(&encoded(v)?),
        Bound::Unbounded => Some(range.start.clone()),
    };
    let end = match last {
        Bound::Included(v) => prefix_end(&encoded(v)?),
        Bound::Excluded(v) => Some(Bytes::from(encoded(v)?)),
        Bound::Unbounded => range.end.clone(),
    };
    // Nothing comes after a prefix of all ones.
    let Some(start) = start else { return Ok(None) };
    range = match range.intersect(&KeyRange { start, end }) {
        Some(range) => range,
        None => return Ok(None),
    };
    Ok(Some(range))
}

/// The keys with `prefix` whose next part, a nullable one, has a value: its first byte is 01, or FE if descending.
fn non_null(prefix: &[u8], descending: bool) -> KeyRange {
    const VALUE: u8 = 0x01;
    let tagged: Vec<u8> = prefix.iter().copied().chain([if descending { !VALUE } else { VALUE }]).collect();
    KeyRange::prefix(&tagged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::key::PartCodec;
    use common::schema::KeyPart;
    use common::value::ValueType;
    use proptest::prelude::*;

    fn part(descending: bool, nullable: bool) -> KeyPart {
        KeyPart { name: "p".into(), codec: PartCodec { ty: ValueType::Int64, descending, nullable }, hidden: false }
    }

    fn bound() -> impl Strategy<Value = Bound<Value>> {
        let edge = prop_oneof![Just(i64::MIN), Just(i64::MAX), -3i64..4];
        prop_oneof![
            edge.clone().prop_map(|v| Bound::Included(Value::Int64(v))),
            edge.prop_map(|v| Bound::Excluded(Value::Int64(v))),
            Just(Bound::Unbounded)
        ]
    }

    fn inside(value: Option<i64>, lower: &Bound<Value>, upper: &Bound<Value>) -> bool {
        let number = |v: &Value| if let Value::Int64(n) = v { *n } else { unreachable!() };
        let above = |v: i64| match lower {
            Bound::Included(l) => v >= number(l),
            Bound::Excluded(l) => v > number(l),
            Bound::Unbounded => true,
        };
        let below = |v: i64| match upper {
            Bound::Included(u) => v <= number(u),
            Bound::Excluded(u) => v < number(u),
            Bound::Unbounded => true,
        };
        value.is_some_and(|v| above(v) && below(v))
    }

    proptest! {
        #[test]
        fn ranges_hold_exactly_the_wanted_keys(
            parts in proptest::collection::vec((any::<bool>(), any::<bool>()), 3),
            prefixed: bool,
            first in proptest::collection::vec(proptest::option::of(-2i64..3), 0..3),
            (lower, upper) in (bound(), bound()),
            bounded: bool,
            key in proptest::collection::vec(proptest::option::of(prop_oneof![Just(i64::MIN), Just(i64::MAX), -3i64..4]), 3),
        ) {
            let parts: Vec<_> = parts.into_iter().map(|(d, n)| part(d, n)).collect();
            let keys = KeySchema::new(&parts, prefixed);
            let fits = |v: &Option<i64>, p: &KeyPart| v.is_some() || p.codec.nullable;
            let first: Vec<_> = first.into_iter().filter(|v| fits(v, &parts[0])).collect();
            let typed = |v: &Option<i64>| v.map(Value::Int64);
            prop_assume!(key.iter().zip(&parts).all(|(v, p)| fits(v, p)));
            let mut allowed = vec![Allowed::OneOf(first.iter().map(typed).collect())];
            if bounded {
                allowed.push(Allowed::Between(lower.clone(), upper.clone()));
            }
            let ranges = key_ranges(keys, &allowed).unwrap();
            let encoded = keys.encode(&key.iter().map(typed).collect::<Vec<_>>()).unwrap();
            let found = ranges.iter().any(|r| r.contains(&encoded));
            prop_assert_eq!(found, first.contains(&key[0]) && (!bounded || inside(key[1], &lower, &upper)));
        }
    }

    #[test]
    fn too_many_combinations_are_refused() {
        let parts = [part(false, false), part(false, false)];
        let many = Allowed::OneOf((0..100).map(|n| Some(Value::Int64(n))).collect());
        assert!(key_ranges(KeySchema::new(&parts, false), &[many.clone(), many]).is_err());
    }
}
