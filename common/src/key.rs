//! Row keys: byte ranges, and the order-preserving encoding of typed key parts.
//!
//! Encoding of a part, chosen so that comparing encoded bytes compares the typed values:
//!
//! | type | bytes |
//! |---|---|
//! | string, bytes, json | each `00` written as `00 FF`, then the terminator `00 01` |
//! | int64, timestamp, date | 8 bytes big-endian, sign bit flipped |
//! | float64 | 8 bytes big-endian: positive: sign bit flipped, negative: all bits; −0 is stored as 0, NaN sorts last |
//! | bool | `00` or `01` |
//!
//! A nullable part has one byte in front: `01` for a value, `02` for null (nulls last). A descending
//! part has all its bytes complemented. The method is that of FoundationDB's tuple layer.

use crate::time::Micros;
use crate::value::{Value, ValueType};
use crate::{Error, Result, limits};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

mod array;

pub use array::KeyError;

/// A half-open range of row keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    /// First key inside.
    pub start: Bytes,
    /// First key after; `None` is unbounded.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    pub const ALL: Self = Self { start: Bytes::new(), end: None };

    /// `[start, end)`.
    pub fn new(start: impl Into<Bytes>, end: Option<Bytes>) -> Self {
        Self { start: start.into(), end }
    }

    /// Exactly one key.
    #[must_use]
    pub fn single(key: &[u8]) -> Self {
        let mut end = key.to_vec();
        end.push(0);
        Self { start: Bytes::copy_from_slice(key), end: Some(end.into()) }
    }

    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: Bytes::copy_from_slice(prefix), end: prefix_end(prefix) }
    }

    /// Whether `key` lies inside.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        // An unbounded start is not compared: `memcmp` of no bytes at the address that an empty `Bytes` has costs as much as a cache
        // miss.
        (self.start.is_empty() || self.start.as_ref() <= key) && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }

    /// Whether nothing can lie inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end <= &self.start)
    }

    /// The common part, `None` if there is none.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let start = self.start.clone().max(other.start.clone());
        let end = match (&self.end, &other.end) {
            (Some(a), Some(b)) => Some(a.clone().min(b.clone())),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let both = Self { start, end };
        (!both.is_empty()).then_some(both)
    }

    /// Whether this range holds all of `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.start <= other.start
            && match (&self.end, &other.end) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(mine), Some(theirs)) => theirs <= mine,
            }
    }
}

/// The first key after every key that begins with `prefix`; `None` if there is none (all `FF`).
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let keep = prefix.iter().rposition(|&b| b != 0xFF)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end.into())
}

/// How one key part is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartCodec {
    /// The part's type.
    pub ty: ValueType,
    /// Newest or largest first.
    pub descending: bool,
    /// Whether null is a value of this part.
    pub nullable: bool,
}

const VALUE: u8 = 0x01;
const NULL: u8 = 0x02;
const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xFF;
const TERMINATOR: u8 = 0x01;

impl PartCodec {
    /// Appends the encoding of `value` to `out`.
    ///
    /// # Errors
    /// `InvalidArgument` for null in a part that is not nullable and for a value of another type.
    pub fn encode(&self, value: Option<&Value>, out: &mut Vec<u8>) -> Result<()> {
        let from = out.len();
        match value {
            None if !self.nullable => return Err(Error::invalid("a key part must not be null")),
            None => out.push(NULL),
            Some(v) => {
                if self.nullable {
                    out.push(VALUE);
                }
                encode_value(self.ty, v, out)?;
            }
        }
        if self.descending {
            complement(&mut out[from..]);
        }
        Ok(())
    }

    /// Reads one part from the front of `key` and moves `key` behind it.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not an encoding of this part.
    pub fn decode(&self, key: &mut &[u8]) -> Result<Option<Value>> {
        if self.takes_null(key)? {
            return Ok(None);
        }
        decode_value(self.ty, key, self.flip()).map(Some)
    }

    /// [`Self::decode`] for scans: text and bytes are unescaped into `scratch`, which is cleared first.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_ref<'s>(&self, key: &mut &[u8], scratch: &'s mut Vec<u8>) -> Result<Option<PartRef<'s>>> {
        if self.takes_null(key)? {
            return Ok(None);
        }
        scratch.clear();
        Ok(Some(match self.ty {
            ValueType::String | ValueType::Json => {
                take_bytes(key, self.flip(), scratch)?;
                PartRef::Text(str::from_utf8(scratch).map_err(|_| Error::corrupt("key part: not UTF-8"))?)
            }
            ValueType::Bytes => {
                take_bytes(key, self.flip(), scratch)?;
                PartRef::Bytes(scratch)
            }
            ValueType::Int64 | ValueType::Timestamp | ValueType::Date => PartRef::Int(take_i64(key, self.flip())?),
            ValueType::Float64 => PartRef::Float(take_f64(key, self.flip())?),
            ValueType::Bool => PartRef::Bool(take_bool(key, self.flip())?),
        }))
    }

    /// Steps over one part without decoding it; `None` if the bytes are not an encoding of one.
    pub(crate) fn skip(&self, key: &mut &[u8]) -> Option<()> {
        if self.takes_null(key).ok()? {
            return Some(());
        }
        let length = match self.ty {
            ValueType::String | ValueType::Json | ValueType::Bytes => bytes_length(key, self.flip())?,
            ValueType::Int64 | ValueType::Timestamp | ValueType::Date | ValueType::Float64 => 8,
            ValueType::Bool => 1,
        };
        *key = key.get(length..)?;
        Some(())
    }

    /// Reads a timestamp, or a date's first instant, from the front of `key`; `None` for null and for what is none.
    pub(crate) fn read_time(&self, key: &mut &[u8]) -> Option<Micros> {
        const DAY: i64 = 86_400_000_000;
        if self.takes_null(key).ok()? {
            return None;
        }
        match self.ty {
            ValueType::Timestamp => take_i64(key, self.flip()).ok().map(Micros),
            ValueType::Date => take_i64(key, self.flip()).ok().map(|days| Micros(days.saturating_mul(DAY))),
            _ => None,
        }
    }

    fn flip(&self) -> u8 {
        if self.descending { 0xFF } else { 0 }
    }

    /// Takes the tag of a nullable part; whether it says null.
    fn takes_null(&self, key: &mut &[u8]) -> Result<bool> {
        if !self.nullable {
            return Ok(false);
        }
        match take::<1>(key, self.flip())? {
            [NULL] => Ok(true),
            [VALUE] => Ok(false),
            [other] => Err(Error::corrupt(format!("key part: tag {other:#04x}"))),
        }
    }
}

/// A key part's value as [`PartCodec::decode_ref`] reads it: without an allocation of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PartRef<'a> {
    /// An int64, a timestamp's µs or a date's days.
    Int(i64),
    /// A float64.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// A string or JSON text.
    Text(&'a str),
    /// Raw bytes.
    Bytes(&'a [u8]),
}

fn encode_value(ty: ValueType, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match (ty, value) {
        (ValueType::String, Value::String(s)) => encode_bytes(s.as_bytes(), out),
        (ValueType::Json, Value::Json(s)) => encode_bytes(s.as_bytes(), out),
        (ValueType::Bytes, Value::Bytes(b)) => encode_bytes(b, out),
        (ValueType::Int64, Value::Int64(n)) => encode_i64(*n, out),
        (ValueType::Timestamp, Value::Timestamp(t)) => encode_i64(t.0, out),
        (ValueType::Date, Value::Date(d)) => encode_i64(i64::from(*d), out),
        (ValueType::Float64, Value::Float64(f)) => out.extend(order_bits(*f).to_be_bytes()),
        (ValueType::Bool, Value::Bool(b)) => out.push(u8::from(*b)),
        (want, found) => return Err(Error::invalid(format!("a key part of type {want} cannot hold {found:?}"))),
    }
    Ok(())
}

fn encode_i64(n: i64, out: &mut Vec<u8>) {
    out.extend((n as u64 ^ 1 << 63).to_be_bytes());
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for &b in bytes {
        out.push(b);
        if b == ESCAPE {
            out.push(ESCAPED_ZERO);
        }
    }
    out.extend([ESCAPE, TERMINATOR]);
}

fn order_bits(f: f64) -> u64 {
    let f = if f == 0.0 {
        0.0
    } else if f.is_nan() {
        f64::NAN
    } else {
        f
    };
    let bits = f.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn from_order_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

fn complement(bytes: &mut [u8]) {
    for b in bytes {
        *b = !*b;
    }
}

fn take<const N: usize>(key: &mut &[u8], flip: u8) -> Result<[u8; N]> {
    let (head, rest) =
        key.split_first_chunk::<N>().ok_or_else(|| Error::corrupt(format!("key part: {N} bytes expected, {} left", key.len())))?;
    *key = rest;
    Ok(head.map(|b| b ^ flip))
}

fn take_bytes(key: &mut &[u8], flip: u8, out: &mut Vec<u8>) -> Result<()> {
    loop {
        let plain = find(ESCAPE ^ flip, key).ok_or_else(|| Error::corrupt("key part: text without its end"))?;
        let from = out.len();
        out.extend_from_slice(&key[..plain]);
        if flip != 0 {
            complement(&mut out[from..]);
        }
        *key = &key[plain + 1..];
        match take::<1>(key, flip)? {
            [ESCAPED_ZERO] => out.push(ESCAPE),
            [TERMINATOR] => return Ok(()),
            [other] => return Err(Error::corrupt(format!("key part: escape {other:#04x}"))),
        }
    }
}

/// Bytes of an encoded text with its terminator.
fn bytes_length(key: &[u8], flip: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        at += find(ESCAPE ^ flip, key.get(at..)?)? + 2;
        match key.get(at - 1)? ^ flip {
            ESCAPED_ZERO => {}
            TERMINATOR => return Some(at),
            _ => return None,
        }
    }
}

/// Where `byte` first lies, eight bytes at a time: a byte of `x` is zero if taking 1 from it borrows and its top bit was clear.
fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (i, chunk) in chunks.iter().enumerate() {
        let x = u64::from_le_bytes(*chunk) ^ u64::from_ne_bytes([byte; 8]);
        let zeros = x.wrapping_sub(ONES) & !x & TOPS;
        if zeros != 0 {
            return Some(i * 8 + (zeros.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|b| *b == byte).map(|at| chunks.len() * 8 + at)
}

fn take_string(key: &mut &[u8], flip: u8) -> Result<String> {
    let mut out = Vec::new();
    take_bytes(key, flip, &mut out)?;
    String::from_utf8(out).map_err(|_| Error::corrupt("key part: not UTF-8"))
}

fn take_f64(key: &mut &[u8], flip: u8) -> Result<f64> {
    Ok(from_order_bits(u64::from_be_bytes(take::<8>(key, flip)?)))
}

fn take_bool(key: &mut &[u8], flip: u8) -> Result<bool> {
    match take::<1>(key, flip)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(Error::corrupt(format!("key part: bool {other:#04x}"))),
    }
}

fn take_i64(key: &mut &[u8], flip: u8) -> Result<i64> {
    Ok((u64::from_be_bytes(take::<8>(key, flip)?) ^ 1 << 63) as i64)
}

fn decode_value(ty: ValueType, key: &mut &[u8], flip: u8) -> Result<Value> {
    Ok(match ty {
        ValueType::String => Value::String(take_string(key, flip)?),
        ValueType::Json => Value::Json(take_string(key, flip)?),
        ValueType::Bytes => {
            let mut out = Vec::new();
            take_bytes(key, flip, &mut out)?;
            Value::Bytes(out.into())
        }
        ValueType::Int64 => Value::Int64(take_i64(key, flip)?),
        ValueType::Timestamp => Value::Timestamp(crate::time::Micros(take_i64(key, flip)?)),
        ValueType::Date => Value::Date(i32::try_from(take_i64(key, flip)?).map_err(|_| Error::corrupt("key part: date out of range"))?),
        ValueType::Float64 => Value::Float64(take_f64(key, flip)?),
        ValueType::Bool => Value::Bool(take_bool(key, flip)?),
    })
}

/// Checks a finished row key against [`limits::MAX_KEY_BYTES`] and emptiness.
///
/// # Errors
/// `InvalidArgument`, naming the length.
pub fn check_key(key: &[u8]) -> Result<()> {
    match key.len() {
        0 => Err(Error::invalid("a row key must not be empty")),
        n if n > limits::MAX_KEY_BYTES => {
            Err(Error::invalid(format!("row key of {n} bytes; at most {} are allowed", limits::MAX_KEY_BYTES)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Micros;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    fn typed() -> impl Strategy<Value = (ValueType, Option<Value>, Option<Value>)> {
        fn pair(
            ty: ValueType,
            v: impl Strategy<Value = Value> + Clone,
        ) -> impl Strategy<Value = (ValueType, Option<Value>, Option<Value>)> {
            (proptest::option::of(v.clone()), proptest::option::of(v)).prop_map(move |(a, b)| (ty, a, b))
        }
        let text = proptest::collection::vec(prop_oneof![Just('\0'), Just('a'), Just('\u{ff}')], 0..5)
            .prop_map(|c| c.into_iter().collect::<String>());
        prop_oneof![
            pair(ValueType::String, text.prop_map(Value::String)),
            pair(
                ValueType::Bytes,
                proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..5).prop_map(|b| Value::Bytes(b.into()))
            ),
            pair(ValueType::Int64, any::<i64>().prop_map(Value::Int64)),
            pair(ValueType::Timestamp, any::<i64>().prop_map(|t| Value::Timestamp(Micros(t)))),
            pair(ValueType::Date, any::<i32>().prop_map(Value::Date)),
            pair(ValueType::Float64, any::<f64>().prop_filter("total order", |f| !f.is_nan()).prop_map(|f| Value::Float64(f + 0.0))),
            pair(ValueType::Bool, any::<bool>().prop_map(Value::Bool)),
        ]
    }

    fn natural(a: &Value, b: &Value) -> Ordering {
        match (a, b) {
            (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Int64(a), Value::Int64(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Float64(a), Value::Float64(b)) => a.partial_cmp(b).unwrap(),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            _ => unreachable!(),
        }
    }

    fn owned(ty: ValueType, read: PartRef<'_>) -> Value {
        match (ty, read) {
            (ValueType::Int64, PartRef::Int(n)) => Value::Int64(n),
            (ValueType::Timestamp, PartRef::Int(n)) => Value::Timestamp(Micros(n)),
            (ValueType::Date, PartRef::Int(n)) => Value::Date(n as i32),
            (_, PartRef::Float(f)) => Value::Float64(f),
            (_, PartRef::Bool(b)) => Value::Bool(b),
            (_, PartRef::Text(s)) => Value::String(s.into()),
            (_, PartRef::Bytes(b)) => Value::Bytes(Bytes::copy_from_slice(b)),
            other => unreachable!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn encoding_keeps_the_order_and_decodes_back((ty, a, b) in typed(), descending: bool, tail in proptest::collection::vec(any::<u8>(), 0..3)) {
            let codec = PartCodec { ty, descending, nullable: true };
            let encode = |v: &Option<Value>| {
                let mut out = Vec::new();
                codec.encode(v.as_ref(), &mut out).unwrap();
                out.extend(&tail);
                out
            };
            let (ka, kb) = (encode(&a), encode(&b));
            let want = match (&a, &b) {
                (None, None) => Ordering::Equal,
                (None, _) => Ordering::Greater,
                (_, None) => Ordering::Less,
                (Some(a), Some(b)) => natural(a, b),
            };
            prop_assert_eq!(ka.cmp(&kb), if descending { want.reverse() } else { want });
            let mut rest = ka.as_slice();
            prop_assert_eq!(codec.decode(&mut rest).unwrap(), a.clone());
            prop_assert_eq!(rest, tail.as_slice());
            let (mut rest, mut scratch) = (ka.as_slice(), vec![7]);
            let read = codec.decode_ref(&mut rest, &mut scratch).unwrap();
            prop_assert_eq!(read.map(|r| owned(ty, r)), a);
            prop_assert_eq!(rest, tail.as_slice());
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..20), (ty, _, _) in typed(), descending: bool) {
            let _ = PartCodec { ty, descending, nullable: true }.decode(&mut bytes.as_slice());
        }

        #[test]
        fn prefix_range_holds_exactly_the_prefixed(prefix in proptest::collection::vec(prop_oneof![Just(0u8), Just(254), Just(255)], 0..4), key in proptest::collection::vec(prop_oneof![Just(0u8), Just(254), Just(255)], 0..6)) {
            prop_assert_eq!(KeyRange::prefix(&prefix).contains(&key), key.starts_with(&prefix));
        }
    }
}
