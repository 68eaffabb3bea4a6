//! One part of many keys at a time, straight into an Arrow array: for scans.

use super::{NULL, PartCodec, VALUE, from_order_bits, take_bytes};
use crate::value::ValueType;
use crate::{Error, Result};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, NullBufferBuilder, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use std::sync::Arc;

/// Which of the keys is not one of its table, and why.
pub type KeyError = (usize, Error);

/// Texts one behind the other.
struct Texts {
    offsets: OffsetBuffer<i32>,
    data: Vec<u8>,
    nulls: Option<NullBuffer>,
}

impl PartCodec {
    /// Reads this part from the front of each key into an array of its [type](crate::schema::arrow_type), and moves
    /// the keys behind it.
    ///
    /// # Errors
    /// `Corrupt`, with the number of the key whose bytes are not an encoding of this part.
    pub fn decode_array(&self, keys: &mut [&[u8]]) -> Result<ArrayRef, KeyError> {
        Ok(match self.ty {
            ValueType::Int64 => {
                let (values, nulls) = self.longs(keys)?;
                Arc::new(Int64Array::new(values.into(), nulls))
            }
            ValueType::Timestamp => {
                let (values, nulls) = self.longs(keys)?;
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls))
            }
            ValueType::Date => {
                let (values, nulls) = self.longs(keys)?;
                Arc::new(Date32Array::new(days(&values)?.into(), nulls))
            }
            ValueType::Float64 => {
                let (values, nulls) = self.eights(keys, from_order_bits)?;
                Arc::new(Float64Array::new(values.into(), nulls))
            }
            ValueType::Bool => self.bools(keys)?,
            ValueType::String | ValueType::Json => {
                let Texts { offsets, data, nulls } = self.texts(keys)?;
                check_text(&offsets, &data)?;
                let array = StringArray::try_new(offsets, data.into(), nulls);
                Arc::new(array.map_err(|e| (0, Error::internal(format!("key part: {e}"))))?)
            }
            ValueType::Bytes => {
                let Texts { offsets, data, nulls } = self.texts(keys)?;
                Arc::new(BinaryArray::new(offsets, data.into(), nulls))
            }
        })
    }

    /// Moves the keys behind this part.
    ///
    /// # Errors
    /// As [`Self::decode_array`], as far as the part's bytes have to be looked at.
    pub fn skip_all(&self, keys: &mut [&[u8]]) -> Result<(), KeyError> {
        let mut scratch = Vec::new();
        self.each(keys, |key, null| match self.ty {
            _ if null => Ok(()),
            ValueType::String | ValueType::Json | ValueType::Bytes => {
                scratch.clear();
                take_bytes(key, self.flip(), &mut scratch)
            }
            ValueType::Bool => skip(key, 1),
            ValueType::Int64 | ValueType::Timestamp | ValueType::Date | ValueType::Float64 => skip(key, 8),
        })
        .map(|_| ())
    }

    fn longs(&self, keys: &mut [&[u8]]) -> Result<(Vec<i64>, Option<NullBuffer>), KeyError> {
        self.eights(keys, |bits| (bits ^ 1 << 63) as i64)
    }

    fn eights<T: Default>(&self, keys: &mut [&[u8]], of: impl Fn(u64) -> T) -> Result<(Vec<T>, Option<NullBuffer>), KeyError> {
        let flip = if self.descending { u64::MAX } else { 0 };
        let mut values = Vec::with_capacity(keys.len());
        let nulls = self.each(keys, |key, null| {
            if null {
                values.push(T::default());
                return Ok(());
            }
            let (head, rest) = key.split_first_chunk::<8>().ok_or_else(|| short(8, key.len()))?;
            *key = rest;
            values.push(of(u64::from_be_bytes(*head) ^ flip));
            Ok(())
        })?;
        Ok((values, nulls))
    }

    fn bools(&self, keys: &mut [&[u8]]) -> Result<ArrayRef, KeyError> {
        let mut values = Vec::with_capacity(keys.len());
        let nulls = self.each(keys, |key, null| {
            values.push(!null && super::take_bool(key, self.flip())?);
            Ok(())
        })?;
        Ok(Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)))
    }

    fn texts(&self, keys: &mut [&[u8]]) -> Result<Texts, KeyError> {
        let mut offsets = Vec::with_capacity(keys.len() + 1);
        let mut data = Vec::with_capacity(keys.len() * 16);
        offsets.push(0);
        let nulls = self.each(keys, |key, null| {
            if !null {
                take_bytes(key, self.flip(), &mut data)?;
            }
            offsets.push(i32::try_from(data.len()).map_err(|_| Error::internal("key parts of more than 2 GiB in one batch"))?);
            Ok(())
        })?;
        Ok(Texts { offsets: OffsetBuffer::new(offsets.into()), data, nulls })
    }

    /// Takes the tag of a nullable part off each key and hands the rest on, with whether it is null; a null is
    /// only handed on so that its place can be filled.
    fn each(
        &self,
        keys: &mut [&[u8]],
        mut take: impl for<'k> FnMut(&mut &'k [u8], bool) -> Result<()>,
    ) -> Result<Option<NullBuffer>, KeyError> {
        if !self.nullable {
            for (i, key) in keys.iter_mut().enumerate() {
                take(key, false).map_err(|e| (i, e))?;
            }
            return Ok(None);
        }
        let mut nulls = NullBufferBuilder::new(keys.len());
        for (i, key) in keys.iter_mut().enumerate() {
            let null = match key.split_first().map(|(tag, _)| tag ^ self.flip()) {
                Some(NULL) => true,
                Some(VALUE) => false,
                Some(other) => return Err((i, Error::corrupt(format!("key part: tag {other:#04x}")))),
                None => return Err((i, short(1, 0))),
            };
            *key = &key[1..];
            nulls.append(!null);
            take(key, null).map_err(|e| (i, e))?;
        }
        Ok(nulls.finish())
    }
}

fn short(wanted: usize, left: usize) -> Error {
    Error::corrupt(format!("key part: {wanted} bytes expected, {left} left"))
}

fn skip(key: &mut &[u8], bytes: usize) -> Result<()> {
    *key = key.get(bytes..).ok_or_else(|| short(bytes, key.len()))?;
    Ok(())
}

fn days(values: &[i64]) -> Result<Vec<i32>, KeyError> {
    let day = |(i, n): (usize, &i64)| i32::try_from(*n).map_err(|_| (i, Error::corrupt("key part: date out of range")));
    values.iter().enumerate().map(day).collect()
}

/// Names the key whose text is not UTF-8.
fn check_text(offsets: &OffsetBuffer<i32>, data: &[u8]) -> Result<(), KeyError> {
    if data.is_ascii() {
        return Ok(());
    }
    for (i, pair) in offsets.windows(2).enumerate() {
        str::from_utf8(&data[pair[0] as usize..pair[1] as usize]).map_err(|_| (i, Error::corrupt("key part: not UTF-8")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
    use proptest::prelude::*;

    fn value(ty: ValueType) -> BoxedStrategy<Value> {
        let text = proptest::collection::vec(prop_oneof![Just('\0'), Just('a'), Just('é')], 0..20).prop_map(|c| c.into_iter().collect());
        match ty {
            ValueType::Int64 => any::<i64>().prop_map(Value::Int64).boxed(),
            ValueType::Timestamp => any::<i64>().prop_map(|t| Value::Timestamp(crate::time::Micros(t))).boxed(),
            ValueType::Date => any::<i32>().prop_map(Value::Date).boxed(),
            ValueType::Float64 => any::<f64>().prop_filter("equal", |f| !f.is_nan()).prop_map(|f| Value::Float64(f + 0.0)).boxed(),
            ValueType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            ValueType::String => text.prop_map(Value::String).boxed(),
            ValueType::Json => text.prop_map(Value::Json).boxed(),
            ValueType::Bytes => proptest::collection::vec(any::<u8>(), 0..20).prop_map(|b| Value::Bytes(b.into())).boxed(),
        }
    }

    fn typed() -> impl Strategy<Value = (ValueType, Vec<Option<Value>>)> {
        proptest::sample::select(ValueType::ALL.to_vec())
            .prop_flat_map(|ty| (Just(ty), proptest::collection::vec(proptest::option::of(value(ty)), 0..20)))
    }

    fn nth(ty: ValueType, array: &ArrayRef, i: usize) -> Option<Value> {
        array.is_valid(i).then(|| match ty {
            ValueType::Int64 => Value::Int64(array.as_primitive::<Int64Type>().value(i)),
            ValueType::Timestamp => Value::Timestamp(crate::time::Micros(array.as_primitive::<TimestampMicrosecondType>().value(i))),
            ValueType::Date => Value::Date(array.as_primitive::<Date32Type>().value(i)),
            ValueType::Float64 => Value::Float64(array.as_primitive::<Float64Type>().value(i)),
            ValueType::Bool => Value::Bool(array.as_boolean().value(i)),
            ValueType::String => Value::String(array.as_string::<i32>().value(i).into()),
            ValueType::Json => Value::Json(array.as_string::<i32>().value(i).into()),
            ValueType::Bytes => Value::Bytes(bytes::Bytes::copy_from_slice(array.as_binary::<i32>().value(i))),
        })
    }

    proptest! {
        #[test]
        fn arrays_hold_what_was_encoded((ty, values) in typed(), descending: bool, nullable: bool, tail in proptest::collection::vec(any::<u8>(), 0..9)) {
            let codec = PartCodec { ty, descending, nullable };
            let values: Vec<_> = values.into_iter().filter(|v| nullable || v.is_some()).collect();
            let encoded: Vec<_> = values.iter().map(|v| {
                let mut out = Vec::new();
                codec.encode(v.as_ref(), &mut out).unwrap();
                out.extend(&tail);
                out
            }).collect();
            let mut keys: Vec<_> = encoded.iter().map(Vec::as_slice).collect();
            let array = codec.decode_array(&mut keys).unwrap();
            prop_assert_eq!(array.data_type(), &crate::schema::arrow_type(ty));
            let got: Vec<_> = (0..array.len()).map(|i| nth(ty, &array, i)).collect();
            prop_assert_eq!(got, values);
            prop_assert!(keys.iter().all(|k| *k == tail.as_slice()));
        }

        #[test]
        fn skipping_moves_as_far_as_decoding((ty, values) in typed(), descending: bool) {
            let codec = PartCodec { ty, descending, nullable: true };
            let encoded: Vec<_> = values.iter().map(|v| {
                let mut out = Vec::new();
                codec.encode(v.as_ref(), &mut out).unwrap();
                out.push(7);
                out
            }).collect();
            let mut keys: Vec<_> = encoded.iter().map(Vec::as_slice).collect();
            codec.skip_all(&mut keys).unwrap();
            prop_assert!(keys.iter().all(|k| *k == [7]));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(keys in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..4), descending: bool, nullable: bool) {
            for ty in ValueType::ALL {
                let codec = PartCodec { ty, descending, nullable };
                let single: Vec<_> = keys.iter().map(|k| codec.decode(&mut k.as_slice()).is_ok()).collect();
                let mut slices: Vec<_> = keys.iter().map(Vec::as_slice).collect();
                let all = codec.decode_array(&mut slices);
                prop_assert_eq!(all.is_ok(), single.iter().all(|ok| *ok), "{}", ty);
                if let Err((i, _)) = all {
                    prop_assert!(!single[i]);
                }
                let _ = codec.skip_all(&mut keys.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
        }
    }
}
