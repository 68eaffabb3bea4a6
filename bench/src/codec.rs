//! How rows look to the engines that know only keys and values, and the typed row that all engines deliver.
//!
//! The key is Stele's own encoding of the key parts, so that all engines hold and find the same keys.
//! The value of a rival is what a careful user would choose: fixed-width fields first, then the end offset of
//! each text, then the texts; decoding copies nothing and any one field is found without the others.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | flags: 1 paid, 2 price is there |
//! | 8 | price, zero if it is not there |
//! | 8 | quantity |
//! | 8 | received_at |
//! | 6 × 2 | end of each text from the first text's beginning |
//! | … | event_type, session, device, country, message, payload |

use crate::events::Event;
use anyhow::{Context, Result};

/// A row as a reader sees it: typed, its texts borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row<'a> {
    pub user_id: &'a str,
    pub at: i64,
    pub event_id: i64,
    pub event_type: &'a str,
    pub session: &'a str,
    pub device: &'a str,
    pub country: &'a str,
    pub price: Option<f64>,
    pub quantity: i64,
    pub paid: bool,
    pub received_at: i64,
    pub message: &'a str,
    pub payload: &'a str,
}

impl<'a> From<&'a Event> for Row<'a> {
    fn from(e: &'a Event) -> Self {
        Self {
            user_id: &e.user_id,
            at: e.at,
            event_id: e.event_id,
            event_type: e.event_type,
            session: &e.session,
            device: e.device,
            country: e.country,
            price: e.price,
            quantity: e.quantity,
            paid: e.paid,
            received_at: e.received_at,
            message: &e.message,
            payload: &e.payload,
        }
    }
}

#[cfg(any(test, feature = "peers"))]
/// The three of ten attributes that column scans read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Three<'a> {
    pub event_type: &'a str,
    pub price: Option<f64>,
    pub received_at: i64,
}

const PAID: u8 = 1;
const PRICED: u8 = 2;
const TEXTS: usize = 6;
const ENDS: usize = 25;
const HEADER: usize = ENDS + 2 * TEXTS;
const TERMINATOR: [u8; 2] = [0, 1];
const SIGN: u64 = 1 << 63;

/// The row key of `(user_id, at, event_id)`; user ids hold no zero byte.
#[must_use]
pub fn key(user_id: &str, at: i64, event_id: i64) -> Vec<u8> {
    let mut out = user_prefix(user_id, at);
    out.extend((event_id as u64 ^ SIGN).to_be_bytes());
    out
}

/// What the keys of a user's rows from `at` on are not below.
#[must_use]
pub fn user_prefix(user_id: &str, at: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(user_id.len() + 18);
    out.extend(user_id.as_bytes());
    out.extend(TERMINATOR);
    out.extend((at as u64 ^ SIGN).to_be_bytes());
    out
}

/// The row key of an event.
#[must_use]
pub fn key_of(e: &Event) -> Vec<u8> {
    key(&e.user_id, e.at, e.event_id)
}

/// The key parts.
///
/// # Errors
/// If the bytes are not a key.
pub fn decode_key(key: &[u8]) -> Result<(&str, i64, i64)> {
    let (rest, event_id) = key.split_last_chunk::<8>().context("a short key")?;
    let (rest, at) = rest.split_last_chunk::<8>().context("a short key")?;
    let user_id = rest.strip_suffix(&TERMINATOR).context("a key without its terminator")?;
    let number = |bytes: &[u8; 8]| (u64::from_be_bytes(*bytes) ^ SIGN) as i64;
    Ok((str::from_utf8(user_id)?, number(at), number(event_id)))
}

/// The value of an event for an engine that knows only bytes.
#[must_use]
pub fn encode(e: &Event) -> Vec<u8> {
    let texts: [&str; TEXTS] = [e.event_type, &e.session, e.device, e.country, &e.message, &e.payload];
    let mut out = Vec::with_capacity(HEADER + texts.iter().map(|t| t.len()).sum::<usize>());
    out.push(if e.paid { PAID } else { 0 } | if e.price.is_some() { PRICED } else { 0 });
    out.extend(e.price.unwrap_or_default().to_le_bytes());
    out.extend(e.quantity.to_le_bytes());
    out.extend(e.received_at.to_le_bytes());
    let mut end = 0;
    for text in texts {
        end += text.len() as u16;
        out.extend(end.to_le_bytes());
    }
    for text in texts {
        out.extend(text.as_bytes());
    }
    out
}

#[cfg(any(test, feature = "peers"))]
/// The fixed-width part of a value and its texts.
struct Parts<'a> {
    header: &'a [u8; HEADER],
    texts: &'a [u8],
}

#[cfg(any(test, feature = "peers"))]
impl<'a> Parts<'a> {
    fn of(value: &'a [u8]) -> Result<Self> {
        let Some((header, texts)) = value.split_first_chunk::<HEADER>() else { anyhow::bail!("a value of {} bytes", value.len()) };
        Ok(Self { header, texts })
    }

    fn eight(&self, at: usize) -> [u8; 8] {
        let mut out = [0; 8];
        out.copy_from_slice(&self.header[at..at + 8]);
        out
    }

    fn price(&self) -> Option<f64> {
        (self.header[0] & PRICED != 0).then(|| f64::from_le_bytes(self.eight(1)))
    }

    fn end(&self, n: usize) -> usize {
        usize::from(u16::from_le_bytes([self.header[ENDS + 2 * n], self.header[ENDS + 2 * n + 1]]))
    }

    fn text(&self, n: usize) -> Result<&'a str> {
        let begin = if n == 0 { 0 } else { self.end(n - 1) };
        Ok(str::from_utf8(self.texts.get(begin..self.end(n)).context("a text beyond its value")?)?)
    }
}

#[cfg(any(test, feature = "peers"))]
/// A whole row.
///
/// # Errors
/// If key or value do not decode.
pub fn decode<'a>(key: &'a [u8], value: &'a [u8]) -> Result<Row<'a>> {
    let (user_id, at, event_id) = decode_key(key)?;
    let p = Parts::of(value)?;
    Ok(Row {
        user_id,
        at,
        event_id,
        event_type: p.text(0)?,
        session: p.text(1)?,
        device: p.text(2)?,
        country: p.text(3)?,
        price: p.price(),
        quantity: i64::from_le_bytes(p.eight(9)),
        paid: p.header[0] & PAID != 0,
        received_at: i64::from_le_bytes(p.eight(17)),
        message: p.text(4)?,
        payload: p.text(5)?,
    })
}

#[cfg(any(test, feature = "peers"))]
/// Three attributes of a row.
///
/// # Errors
/// If the value does not decode.
pub fn decode_three(value: &[u8]) -> Result<Three<'_>> {
    let p = Parts::of(value)?;
    Ok(Three { event_type: p.text(0)?, price: p.price(), received_at: i64::from_le_bytes(p.eight(17)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Generator;
    use common::value::Value;

    #[test]
    fn rows_decode_as_they_were_encoded() {
        for e in Generator::new(300, 3) {
            let (key, value) = (key_of(&e), encode(&e));
            assert_eq!(decode(&key, &value).unwrap(), Row::from(&e));
            let three = Three { event_type: e.event_type, price: e.price, received_at: e.received_at };
            assert_eq!(decode_three(&value).unwrap(), three);
        }
    }

    #[test]
    fn keys_are_those_of_the_table() {
        let table = crate::engines::stele::table(false).unwrap();
        for e in Generator::new(100, 3) {
            let parts = [Value::String(e.user_id.clone()), Value::Timestamp(common::time::Micros(e.at)), Value::Int64(e.event_id)];
            assert_eq!(table.key_schema().encode(&parts.map(Some)).unwrap(), key_of(&e));
        }
    }

    #[test]
    fn damaged_values_are_errors() {
        let e = Generator::new(1, 1).next().unwrap();
        let value = encode(&e);
        assert!(decode(&key_of(&e), &value[..10]).is_err());
        assert!(decode(&key_of(&e), &value[..value.len() - 1]).is_err());
        assert!(decode_key(b"short").is_err());
    }
}
