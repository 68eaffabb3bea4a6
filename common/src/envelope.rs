//! The envelope of every durable record: what it is, which version, a checksum, then bincode.
//!
//! ```text
//! magic     4 bytes   the record's kind (b"STLM" …)
//! version   u16 LE    format version of the payload
//! length    u32 LE    payload bytes
//! crc32c    u32 LE    of magic, version, length and payload
//! payload   bincode 2 (little endian, variable-length integers), serde model
//! ```
//!
//! A reader accepts the versions it names and refuses every other by number. Decoding is bounded
//! by [`limits::MAX_RECORD_BYTES`], so a damaged length cannot claim memory.

use crate::{Error, Result, limits};
use serde::{Serialize, de::DeserializeOwned};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 14;

/// A record's four-letter kind.
pub type Magic = [u8; 4];

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<{ limits::MAX_RECORD_BYTES }>()
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

/// Encodes `record` behind its envelope.
///
/// # Errors
/// `Internal` if the type cannot be encoded, `InvalidArgument` if it is above 4 GiB.
pub fn encode<T: Serialize>(magic: Magic, version: u16, record: &T) -> Result<Vec<u8>> {
    encode_about(magic, version, record, 0)
}

/// As [`encode`], of a record of about so many bytes.
///
/// # Errors
/// As for [`encode`].
pub fn encode_about<T: Serialize>(magic: Magic, version: u16, record: &T, bytes: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(HEADER_BYTES + bytes);
    out.resize(HEADER_BYTES, 0);
    bincode::serde::encode_into_std_write(record, &mut out, config())
        .map_err(|e| Error::internal(format!("cannot encode a {} record: {e}", name(magic))))?;
    let length =
        u32::try_from(out.len() - HEADER_BYTES).map_err(|_| Error::invalid(format!("a {} record is larger than 4 GiB", name(magic))))?;
    out[..4].copy_from_slice(&magic);
    out[4..6].copy_from_slice(&version.to_le_bytes());
    out[6..10].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(&out[..10], &out[HEADER_BYTES..]);
    out[10..14].copy_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// The verified payload at the start of `bytes`, with its version and the envelope's whole length.
///
/// # Errors
/// `Corrupt`, naming what does not fit: too short, another kind, a wrong checksum.
pub fn open(magic: Magic, bytes: &[u8]) -> Result<(u16, &[u8], usize)> {
    let kind = name(magic);
    let header =
        bytes.get(..HEADER_BYTES).ok_or_else(|| Error::corrupt(format!("{kind} record: {} bytes are less than a header", bytes.len())))?;
    if header[..4] != magic {
        return Err(Error::corrupt(format!("{kind} record: found kind {:?}", String::from_utf8_lossy(&header[..4]))));
    }
    let version = u16::from_le_bytes([header[4], header[5]]);
    let length = u32::from_le_bytes([header[6], header[7], header[8], header[9]]) as usize;
    let crc = u32::from_le_bytes([header[10], header[11], header[12], header[13]]);
    let payload = bytes
        .get(HEADER_BYTES..HEADER_BYTES.saturating_add(length))
        .ok_or_else(|| Error::corrupt(format!("{kind} record: {length} payload bytes promised, {} there", bytes.len() - HEADER_BYTES)))?;
    if checksum(&header[..10], payload) != crc {
        return Err(Error::corrupt(format!("{kind} record: checksum mismatch")));
    }
    Ok((version, payload, HEADER_BYTES + length))
}

/// Decodes one whole record of exactly the version `version`.
///
/// # Errors
/// `Corrupt` as for [`open`], for another version, for trailing bytes and for a payload that does not decode.
pub fn decode<T: DeserializeOwned>(magic: Magic, version: u16, bytes: &[u8]) -> Result<T> {
    let (found, payload, whole) = open(magic, bytes)?;
    let kind = name(magic);
    if found != version {
        return Err(Error::corrupt(format!("{kind} record: format version {found}, this build reads {version}")));
    }
    if whole != bytes.len() {
        return Err(Error::corrupt(format!("{kind} record: {} bytes after its end", bytes.len() - whole)));
    }
    decode_payload(magic, payload)
}

/// Decodes a payload that [`open`] has verified.
///
/// # Errors
/// `Corrupt` if it does not decode or has bytes left over.
pub fn decode_payload<T: DeserializeOwned>(magic: Magic, payload: &[u8]) -> Result<T> {
    let kind = name(magic);
    let (record, used) =
        bincode::serde::decode_from_slice(payload, config()).map_err(|e| Error::corrupt(format!("{kind} record does not decode: {e}")))?;
    if used == payload.len() { Ok(record) } else { Err(Error::corrupt(format!("{kind} record: payload has bytes left over"))) }
}

/// Decodes the first fields of a payload that [`open`] has verified: those of `T`, whatever follows.
///
/// # Errors
/// `Corrupt` if they do not decode.
pub fn decode_prefix<T: DeserializeOwned>(magic: Magic, payload: &[u8]) -> Result<T> {
    let decoded = bincode::serde::decode_from_slice(payload, config());
    decoded.map(|(fields, _)| fields).map_err(|e| Error::corrupt(format!("{} record does not decode: {e}", name(magic))))
}

fn name(magic: Magic) -> String {
    String::from_utf8_lossy(&magic).into_owned()
}

/// A value that travels inside a bincode record as JSON text, so that adding an optional
/// field to a catalog type does not need a new format version of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsJson<T>(pub T);

impl<T: Serialize> Serialize for AsJson<T> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(serde::ser::Error::custom)?;
        s.serialize_str(&text)
    }
}

impl<'de, T: DeserializeOwned> serde::Deserialize<'de> for AsJson<T> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        serde_json::from_str(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: Magic = *b"TEST";

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = encode(MAGIC, 1, &("row", 7u64)).unwrap();
        assert_eq!(decode::<(String, u64)>(MAGIC, 1, &bytes).unwrap(), ("row".to_owned(), 7));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode::<(String, u64)>(MAGIC, 1, &damaged).unwrap_err().kind, crate::ErrorKind::Corrupt);
        }
    }

    #[test]
    fn another_version_is_refused_by_number() {
        let bytes = encode(MAGIC, 2, &1u8).unwrap();
        let e = decode::<u8>(MAGIC, 1, &bytes).unwrap_err();
        assert!(e.message.contains("version 2"), "{e}");
    }
}
