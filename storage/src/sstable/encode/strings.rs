//! Byte strings.
//!
//! | tag | then |
//! |---|---|
//! | 0 plain | lengths, as integers · the bytes of all, one after the other |
//! | 1 dictionary | number varint · the distinct values as in plain · width u8 · codes, packed |

use super::check_count;
use super::choice::{code_width, distinct};
use super::integers::{decode_codes, decode_ints, encode_codes, encode_ints, take_distinct};
use super::pack::packed_len;
use crate::codec::{Damaged, Input, Result, put_u64};
use bytes::Bytes;

const PLAIN: u8 = 0;
const DICTIONARY: u8 = 1;

/// Byte strings as Arrow lays them out; string *i* is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sstable) enum ByteColumn {
    /// One string a value.
    Plain {
        /// One more than there are strings; they rise from 0 to the length of `data`.
        offsets: Vec<i32>,
        /// A part of the page: nothing is copied.
        data: Bytes,
    },
    /// Each distinct string once.
    Dictionary {
        /// Which string each value is.
        codes: Vec<u32>,
        /// As in plain, of the distinct strings.
        offsets: Vec<i32>,
        /// As in plain.
        data: Bytes,
    },
}

/// Appends `values`, together below 2 GiB, as a dictionary if they come again often enough.
pub(in crate::sstable) fn encode_bytes(values: &[&[u8]], out: &mut Vec<u8>) {
    let plain = plain_bytes(values);
    match distinct(values) {
        Some(found) if plain_bytes(&found.values) + packed_len(values.len(), code_width(found.values.len())) < plain => {
            out.push(DICTIONARY);
            put_u64(out, found.values.len() as u64);
            encode_plain(&found.values, out);
            encode_codes(&found.codes, found.values.len(), out);
        }
        _ => {
            out.push(PLAIN);
            encode_plain(values, out);
        }
    }
}

/// The size of plain, about.
fn plain_bytes(values: &[&[u8]]) -> usize {
    values.iter().map(|v| v.len() + 1).sum()
}

fn encode_plain(values: &[&[u8]], out: &mut Vec<u8>) {
    let lengths: Vec<i64> = values.iter().map(|v| v.len() as i64).collect();
    encode_ints(&lengths, out);
    values.iter().for_each(|v| out.extend_from_slice(v));
}

/// Reads `count` strings, without a copy of their bytes.
///
/// # Errors
/// `Damaged` if the bytes end early or are no encoding, and for more than [`super::MAX_VALUES`].
pub(in crate::sstable) fn decode_bytes(input: &mut Input<'_>, count: usize) -> Result<ByteColumn> {
    check_count(count)?;
    match input.u8()? {
        PLAIN => {
            let (offsets, data) = decode_plain(input, count)?;
            Ok(ByteColumn::Plain { offsets, data })
        }
        DICTIONARY => {
            let distinct = take_distinct(input, count)?;
            let (offsets, data) = decode_plain(input, distinct)?;
            Ok(ByteColumn::Dictionary { codes: decode_codes(input, count, distinct)?, offsets, data })
        }
        _ => Err(Damaged("an encoding of byte strings that this build does not know")),
    }
}

fn decode_plain(input: &mut Input<'_>, count: usize) -> Result<(Vec<i32>, Bytes)> {
    let offsets = take_offsets(input, count)?;
    let data = input.take_bytes(last(&offsets))?;
    Ok((offsets, data))
}

/// Lengths as offsets, which stay within what is left of `input`.
pub(super) fn take_offsets(input: &mut Input<'_>, count: usize) -> Result<Vec<i32>> {
    let lengths = decode_ints(input, count)?;
    to_offsets(&lengths, input.left())
}

pub(super) fn to_offsets(lengths: &[i64], limit: usize) -> Result<Vec<i32>> {
    let limit = limit.min(i32::MAX as usize) as u64;
    // With each length below 2^31 and at most 2^20 of them the sum cannot overflow.
    if lengths.iter().fold(0, |max, &length| max.max(length as u64)) > limit || lengths.iter().sum::<i64>() as u64 > limit {
        return Err(Damaged("lengths above the bytes that are there"));
    }
    let mut end = 0;
    let ends = lengths.iter().map(|&length| {
        end += length as i32;
        end
    });
    Ok(std::iter::once(0).chain(ends).collect())
}

fn last(offsets: &[i32]) -> usize {
    offsets.last().map_or(0, |&end| end as usize)
}
