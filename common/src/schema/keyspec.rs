use super::table::KeyPart;
use crate::key::{KeyRange, check_key};
use crate::time::{Micros, TimeRange};
use crate::value::Value;
use crate::{Error, Result};
use bytes::Bytes;

/// First byte of every visible row key of a derived table.
pub const DATA_PREFIX: u8 = 0x01;
/// First byte of a derived table's hidden rows (window records), which travel with its tablets.
pub const HIDDEN_PREFIX: u8 = 0x00;

/// Encodes and decodes the row keys of one table.
///
/// A derived table's keys have one byte in front, [`DATA_PREFIX`] or [`HIDDEN_PREFIX`], so that its
/// hidden rows are a key range of their own; all other tables' keys are their parts alone.
#[derive(Clone, Copy, Debug)]
pub struct KeySchema<'a> {
    parts: &'a [KeyPart],
    prefixed: bool,
    /// The part that holds the event time.
    time: Option<usize>,
}

impl<'a> KeySchema<'a> {
    /// The encoding of these parts; `prefixed` for derived tables.
    #[must_use]
    pub fn new(parts: &'a [KeyPart], prefixed: bool) -> Self {
        Self { parts, prefixed, time: None }
    }

    /// The same with the event time in part `time`, a timestamp or date.
    #[must_use]
    pub fn with_time(self, time: Option<usize>) -> Self {
        Self { time, ..self }
    }

    /// Whether a key part holds the event time: rows never move in time.
    #[must_use]
    pub fn has_time(&self) -> bool {
        self.time.is_some()
    }

    /// The event time in a row key, a date's first instant; `None` if no part holds one, it is null, or the bytes up to
    /// it are no key of this table. A function of the bytes alone: the other parts are stepped over, not checked.
    #[must_use]
    pub fn event_time(&self, key: &[u8]) -> Option<Micros> {
        let part = self.parts.get(self.time?)?;
        part.codec.read_time(&mut self.time_bytes(key)?)
    }

    /// A range of event times that holds those of all keys of `range` that have one: all of them if the parts before
    /// the time are not the same throughout.
    #[must_use]
    pub fn event_times(&self, range: &KeyRange) -> TimeRange {
        self.narrow(range).unwrap_or(TimeRange::ALL)
    }

    fn narrow(&self, range: &KeyRange) -> Option<TimeRange> {
        let codec = self.parts.get(self.time?)?.codec;
        let mut first = self.time_bytes(&range.start)?;
        let prefix = &range.start[..range.start.len() - first.len()];
        if !KeyRange::prefix(prefix).covers(range) {
            return None;
        }
        // Where an end is cut short, or is null, that side is open.
        let first = codec.read_time(&mut first);
        let last = range.end.as_ref().and_then(|end| codec.read_time(&mut end.strip_prefix(prefix)?));
        let (low, high) = if codec.descending { (last, first) } else { (first, last) };
        Some(TimeRange { start: low.unwrap_or(Micros::MIN), end: high.map_or(Micros::MAX, |t| Micros(t.0.saturating_add(1))) })
    }

    /// Bytes of a row key before its event time: what all rows of one user, say, share. `None` if no part or the first one
    /// holds the time, or the bytes are no key of this table. A function of the bytes up to there alone, so all keys
    /// that begin with a prefix have it.
    #[must_use]
    pub fn prefix_len(&self, key: &[u8]) -> Option<usize> {
        let time = self.time_bytes(key)?;
        (self.time > Some(0)).then(|| key.len() - time.len())
    }

    /// The prefix, as [`Self::prefix_len`] cuts it, that all keys of `range` share; `None` if there is none.
    #[must_use]
    pub fn common_prefix<'r>(&self, range: &'r KeyRange) -> Option<&'r [u8]> {
        let prefix = &range.start[..self.prefix_len(&range.start)?];
        KeyRange::prefix(prefix).covers(range).then_some(prefix)
    }

    /// What of a key begins with the time's part.
    fn time_bytes<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let mut rest = if self.prefixed { key.strip_prefix(&[DATA_PREFIX])? } else { key };
        for part in self.parts.get(..self.time?)? {
            part.codec.skip(&mut rest)?;
        }
        Some(rest)
    }

    /// The table's parts.
    #[must_use]
    pub fn parts(&self) -> &'a [KeyPart] {
        self.parts
    }

    /// The range that holds all visible rows.
    #[must_use]
    pub fn data_range(&self) -> KeyRange {
        if self.prefixed { KeyRange::prefix(&[DATA_PREFIX]) } else { KeyRange::ALL }
    }

    /// The bytes in front of the first part.
    #[must_use]
    pub fn prefix(&self) -> Vec<u8> {
        if self.prefixed { vec![DATA_PREFIX] } else { Vec::new() }
    }

    /// Encodes the first `values.len()` parts: a whole key, or a prefix of one.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the part that is null, of another type or too many.
    pub fn encode_prefix(&self, values: &[Option<Value>]) -> Result<Vec<u8>> {
        if values.len() > self.parts.len() {
            return Err(Error::invalid(format!("{} key values for {} key parts", values.len(), self.parts.len())));
        }
        let mut out = self.prefix();
        for (part, value) in self.parts.iter().zip(values) {
            part.codec.encode(value.as_ref(), &mut out).map_err(|e| e.context(format!("key part '{}'", part.name)))?;
        }
        Ok(out)
    }

    /// Encodes a whole row key.
    ///
    /// # Errors
    /// As [`Self::encode_prefix`], for missing parts, and for a key above its limit.
    pub fn encode(&self, values: &[Option<Value>]) -> Result<Bytes> {
        if values.len() != self.parts.len() {
            return Err(Error::invalid(format!("{} key values for {} key parts", values.len(), self.parts.len())));
        }
        let key = self.encode_prefix(values)?;
        check_key(&key)?;
        Ok(key.into())
    }

    /// Decodes a whole row key into one value a part.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not a key of this table.
    pub fn decode(&self, key: &[u8]) -> Result<Vec<Option<Value>>> {
        let mut rest = key;
        if self.prefixed {
            rest = rest.strip_prefix(&[DATA_PREFIX]).ok_or_else(|| Error::corrupt("a derived table's row key without its prefix"))?;
        }
        let values = self
            .parts
            .iter()
            .map(|p| p.codec.decode(&mut rest).map_err(|e| e.context(format!("key part '{}'", p.name))))
            .collect::<Result<_>>()?;
        if rest.is_empty() { Ok(values) } else { Err(Error::corrupt(format!("row key has {} bytes after its parts", rest.len()))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PartCodec;
    use crate::value::ValueType;
    use proptest::prelude::*;

    fn part(name: &str, ty: ValueType, descending: bool, nullable: bool) -> KeyPart {
        KeyPart { name: name.into(), codec: PartCodec { ty, descending, nullable }, hidden: false }
    }

    fn prefix_end_of(prefix: &[u8]) -> Bytes {
        crate::key::prefix_end(prefix).unwrap()
    }

    proptest! {
        #[test]
        fn the_event_time_is_what_decoding_gives(
            text in "[a-c\0\u{ff}]{0,4}",
            time in prop_oneof![any::<i64>(), -5i64..5],
            null: bool,
            (text_desc, descending, nullable, prefixed) in any::<(bool, bool, bool, bool)>(),
            cut in 0usize..30,
            other in -5i64..5,
        ) {
            let parts = [
                part("user", ValueType::String, text_desc, false),
                part("n", ValueType::Int64, false, true),
                part("at", ValueType::Timestamp, descending, nullable),
                part("id", ValueType::Bytes, false, false),
            ];
            let keys = KeySchema::new(&parts, prefixed).with_time(Some(2));
            let at = (!(null && nullable)).then_some(Micros(time));
            let values = [Some(Value::String(text)), None, at.map(Value::Timestamp), Some(Value::Bytes(Bytes::from_static(b"x")))];
            let key = keys.encode(&values).unwrap();
            prop_assert_eq!(keys.event_time(&key), at);
            let _ = keys.event_time(&key[..cut.min(key.len())]);
            let mut with = values.clone();
            with[2] = Some(Value::Timestamp(Micros(other)));
            let start = keys.encode(&with).unwrap();
            let whole = KeyRange::prefix(&keys.encode_prefix(&values[..2]).unwrap());
            for range in [
                KeyRange::single(&key),
                KeyRange::new(start.clone(), whole.end.clone()),
                KeyRange::new(whole.start.clone(), Some(start.clone())),
                KeyRange::new(start[..cut.min(start.len())].to_vec(), Some(start)),
                KeyRange::ALL,
                whole,
            ] {
                if let (true, Some(at)) = (range.contains(&key), at) {
                    prop_assert!(keys.event_times(&range).contains(at), "{:?}", range);
                }
            }
            let single = keys.event_times(&KeyRange::single(&key));
            prop_assert!(at.is_none_or(|at| single.start == at));

            let prefix = keys.encode_prefix(&values[..2]).unwrap();
            prop_assert_eq!(keys.prefix_len(&key), Some(prefix.len()));
            prop_assert_eq!(keys.prefix_len(&key[..cut.min(key.len())]), (cut >= prefix.len()).then_some(prefix.len()));
            let end = prefix_end_of(&prefix);
            for range in [KeyRange::single(&key), KeyRange::prefix(&prefix), KeyRange::new(key.clone(), Some(end.clone()))] {
                prop_assert_eq!(keys.common_prefix(&range), Some(prefix.as_slice()));
            }
            let over = KeyRange::new(key, KeyRange::single(&end).end);
            prop_assert_eq!(keys.common_prefix(&over), None);
        }
    }

    #[test]
    fn a_date_part_gives_its_first_instant_and_other_keys_give_none() {
        let parts = [part("day", ValueType::Date, true, false)];
        let keys = KeySchema::new(&parts, false).with_time(Some(0));
        let key = keys.encode(&[Some(Value::Date(2))]).unwrap();
        assert_eq!(keys.event_time(&key), Some(Micros(2 * 86_400_000_000)));
        assert_eq!(keys.event_time(b"short"), None);
        assert_eq!(KeySchema::new(&parts, false).event_time(&key), None);
        assert_eq!(keys.prefix_len(&key), None, "nothing lies before the time");
        assert_eq!(KeySchema::new(&parts, false).prefix_len(&key), None, "there is no time");
    }
}
