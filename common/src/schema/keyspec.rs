use super::table::KeyPart;
use crate::key::{KeyRange, check_key};
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
}

impl<'a> KeySchema<'a> {
    /// The encoding of these parts; `prefixed` for derived tables.
    #[must_use]
    pub fn new(parts: &'a [KeyPart], prefixed: bool) -> Self {
        Self { parts, prefixed }
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
