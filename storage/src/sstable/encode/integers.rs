//! Integers of 64 bits: also the bits of floats, and the lengths and codes of strings.
//!
//! | tag | then |
//! |---|---|
//! | 0 plain | 8 bytes a value |
//! | 1 constant | the value, svarint |
//! | 2 packed | least value svarint · width u8 · each value above the least, packed |
//! | 3 steps | first value svarint · least step svarint · width u8 · each step above the least, packed |
//! | 4 runs | number varint · values · lengths |
//! | 5 dictionary | number varint · values · width u8 · codes, packed |
//! | 6 decimals | see [`super::decimals`] |
//!
//! Tags 0 to 3 are *flat*; the parts of 4 and 5 are flat, so that damage cannot nest them without end.

use super::choice::{Distinct, Shape, code_width, distinct, span};
use super::pack::{check_width, pack, packed_len, unpack, width_of};
use super::{check_count, decimals};
use crate::codec::{Damaged, Input, Result, put_i64, put_u64};

const PLAIN: u8 = 0;
const CONSTANT: u8 = 1;
const PACKED: u8 = 2;
const STEPS: u8 = 3;
const RUNS: u8 = 4;
const DICTIONARY: u8 = 5;
const DECIMALS: u8 = 6;

/// Up to this width nothing but runs is worth a try.
const NARROW_BITS: u32 = 4;

/// Appends `values` in the encoding that is smallest by estimate.
pub(in crate::sstable) fn encode_ints(values: &[i64], out: &mut Vec<u8>) {
    let shape = Shape::of(values);
    if shape.width() > decimals::MIN_BITS
        && let Some(found) = decimals::find(values)
        && found.bytes() < whole_bytes(&shape)
    {
        out.push(DECIMALS);
        return found.encode(out);
    }
    encode_whole(values, &shape, out);
}

/// Any encoding but decimals.
pub(super) fn encode_whole(values: &[i64], shape: &Shape, out: &mut Vec<u8>) {
    let flat = flat_bytes(shape);
    let best = flat.min(shape.runs_bytes());
    if shape.width() > NARROW_BITS
        && best > shape.dictionary_bytes(2)
        && let Some(found) = distinct(values)
        && shape.dictionary_bytes(found.values.len()) < best
    {
        return encode_dictionary(&found, out);
    }
    if best < flat { encode_runs(values, shape, out) } else { encode_flat(values, shape, out) }
}

/// What [`encode_whole`] writes at most, about.
pub(super) fn whole_bytes(shape: &Shape) -> usize {
    flat_bytes(shape).min(shape.runs_bytes())
}

fn flat_bytes(shape: &Shape) -> usize {
    shape.packed_bytes().min(shape.steps_bytes())
}

fn encode_flat(values: &[i64], shape: &Shape, out: &mut Vec<u8>) {
    match values {
        [] => out.push(PLAIN),
        [first, ..] if shape.min == shape.max => {
            out.push(CONSTANT);
            put_i64(out, *first);
        }
        [first, ..] if shape.steps_bytes() < shape.packed_bytes() => encode_steps(*first, values, shape, out),
        _ if shape.width() == u64::BITS => {
            out.push(PLAIN);
            values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        }
        _ => {
            out.push(PACKED);
            put_i64(out, shape.min);
            out.push(shape.width() as u8);
            pack(values.iter().map(|&v| span(shape.min, v)), shape.width(), out);
        }
    }
}

fn encode_steps(first: i64, values: &[i64], shape: &Shape, out: &mut Vec<u8>) {
    let width = width_of(span(shape.min_step, shape.max_step));
    out.push(STEPS);
    put_i64(out, first);
    put_i64(out, shape.min_step);
    out.push(width as u8);
    let above = values.windows(2).map(|pair| span(shape.min_step, pair[1].wrapping_sub(pair[0])));
    pack(above, width, out);
}

fn encode_runs(values: &[i64], shape: &Shape, out: &mut Vec<u8>) {
    let (mut heads, mut lengths) = (Vec::with_capacity(shape.runs), Vec::with_capacity(shape.runs));
    for run in values.chunk_by(|a, b| a == b) {
        heads.push(run[0]);
        lengths.push(run.len() as i64);
    }
    out.push(RUNS);
    put_u64(out, heads.len() as u64);
    encode_flat(&heads, &Shape::of(&heads), out);
    encode_flat(&lengths, &Shape::of(&lengths), out);
}

fn encode_dictionary(found: &Distinct<i64>, out: &mut Vec<u8>) {
    out.push(DICTIONARY);
    put_u64(out, found.values.len() as u64);
    encode_flat(&found.values, &Shape::of(&found.values), out);
    encode_codes(&found.codes, found.values.len(), out);
}

/// Appends codes below `distinct`.
pub(super) fn encode_codes(codes: &[u32], distinct: usize, out: &mut Vec<u8>) {
    let width = code_width(distinct);
    out.push(width as u8);
    pack(codes.iter().map(|&code| u64::from(code)), width, out);
}

/// Reads `count` integers.
///
/// # Errors
/// `Damaged` if the bytes end early or are no encoding, and for more than [`super::MAX_VALUES`].
pub(in crate::sstable) fn decode_ints(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>> {
    check_count(count)?;
    match input.u8()? {
        DECIMALS => decimals::decode(input, count),
        tag => decode_whole(tag, input, count),
    }
}

/// Any encoding but decimals.
pub(super) fn decode_whole(tag: u8, input: &mut Input<'_>, count: usize) -> Result<Vec<i64>> {
    match tag {
        RUNS => decode_runs(input, count),
        DICTIONARY => decode_dictionary(input, count),
        tag => decode_flat(tag, input, count),
    }
}

fn decode_flat(tag: u8, input: &mut Input<'_>, count: usize) -> Result<Vec<i64>> {
    match tag {
        PLAIN => {
            let (words, _) = input.take(count * 8)?.as_chunks();
            Ok(words.iter().map(|word| i64::from_le_bytes(*word)).collect())
        }
        CONSTANT => Ok(vec![input.i64()?; count]),
        PACKED => {
            let least = input.i64()?;
            let mut out = vec![0; count];
            take_packed(input, &mut out, |v| least.wrapping_add(v as i64))?;
            Ok(out)
        }
        STEPS => decode_steps(input, count),
        _ => Err(Damaged("an encoding of integers that this build does not know")),
    }
}

fn decode_steps(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>> {
    let (first, least) = (input.i64()?, input.i64()?);
    let mut out = vec![first; count];
    let Some((_, steps)) = out.split_first_mut() else { return Ok(out) };
    take_packed(input, steps, |v| least.wrapping_add(v as i64))?;
    let mut value = first;
    for slot in steps {
        value = value.wrapping_add(*slot);
        *slot = value;
    }
    Ok(out)
}

fn decode_runs(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>> {
    let runs = take_distinct(input, count)?;
    let heads = take_flat(input, runs)?;
    let lengths = take_flat(input, runs)?;
    let mut out = Vec::with_capacity(count);
    for (head, length) in heads.into_iter().zip(lengths) {
        let length = usize::try_from(length).map_err(|_| Damaged("a run of negative length"))?;
        if length > count - out.len() {
            return Err(Damaged("runs of more values than there are"));
        }
        out.resize(out.len() + length, head);
    }
    if out.len() == count { Ok(out) } else { Err(Damaged("runs of fewer values than there are")) }
}

fn decode_dictionary(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>> {
    let distinct = take_distinct(input, count)?;
    let values = take_flat(input, distinct)?;
    let codes = decode_codes(input, count, distinct)?;
    Ok(codes.into_iter().map(|code| values[code as usize]).collect())
}

fn take_flat(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>> {
    let tag = input.u8()?;
    decode_flat(tag, input, count)
}

/// A number of distinct values or runs: at most one a value.
pub(super) fn take_distinct(input: &mut Input<'_>, count: usize) -> Result<usize> {
    match usize::try_from(input.u64()?) {
        Ok(distinct) if distinct <= count => Ok(distinct),
        _ => Err(Damaged("more distinct values than there are values")),
    }
}

/// Reads `count` codes, all below `distinct`.
pub(super) fn decode_codes(input: &mut Input<'_>, count: usize, distinct: usize) -> Result<Vec<u32>> {
    let mut codes = vec![0; count];
    take_packed(input, &mut codes, |code| u32::try_from(code).unwrap_or(u32::MAX))?;
    // Without an early end, so that it is done several at a time.
    let above = codes.iter().fold(0, |max: u32, code| max.max(*code)) as usize >= distinct;
    if above && count > 0 { Err(Damaged("a code above the dictionary")) } else { Ok(codes) }
}

fn take_packed<T: Copy>(input: &mut Input<'_>, out: &mut [T], map: impl Fn(u64) -> T + Copy) -> Result<()> {
    let width = check_width(input.u8()?)?;
    let packed = input.take(packed_len(out.len(), width))?;
    unpack(packed, width, out, map);
    Ok(())
}
