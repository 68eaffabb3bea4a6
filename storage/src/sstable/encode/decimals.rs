//! Floats that are decimal numbers of few digits, as integers scaled by a power of ten; those that are not are kept apart.
//! After ALP (Afroozeh, Kuffó, Boncz: "ALP: Adaptive Lossless floating-Point Compression", 2023), in its simplest form:
//! one exponent a page, no second factor.
//!
//! ```text
//! exponent u8 · the scaled integers, an encoding but decimals
//! number of exceptions varint · their positions · their bits, both an encoding but decimals
//! ```
//!
//! An integer *n* stands for the float nearest to *n* / 10^exponent, as division gives it.

use super::choice::Shape;
use super::integers::{decode_whole, encode_whole, take_distinct, whole_bytes};
use crate::codec::{Damaged, Input, Result, put_u64};

/// Narrower integers are no floats of use.
pub(super) const MIN_BITS: u32 = 20;

const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Adding and subtracting it rounds to a whole number, to 2^51 either way.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Floats that choose the exponent.
const SAMPLE: usize = 64;

/// Floats as scaled integers.
pub(super) struct Decimals {
    exponent: u8,
    scaled: Vec<i64>,
    positions: Vec<i64>,
    bits: Vec<i64>,
}

/// `None` if more than one value in eight is no short decimal.
pub(super) fn find(values: &[i64]) -> Option<Decimals> {
    let step = (values.len() / SAMPLE).max(1);
    let sample: Vec<i64> = values.iter().step_by(step).copied().collect();
    let exponent = (0..POWERS.len()).find(|&exponent| {
        let exceptions = sample.iter().filter(|&&bits| scale(bits, POWERS[exponent]).is_none()).count();
        exceptions <= sample.len() / 8
    })?;
    let found = scale_all(values, exponent)?;
    (found.positions.len() <= values.len() / 8).then_some(found)
}

fn scale_all(values: &[i64], exponent: usize) -> Option<Decimals> {
    let power = POWERS[exponent];
    // Exceptions take a value that widens nothing.
    let filler = values.iter().find_map(|&bits| scale(bits, power))?;
    let mut found =
        Decimals { exponent: exponent as u8, scaled: Vec::with_capacity(values.len()), positions: Vec::new(), bits: Vec::new() };
    for (i, &bits) in values.iter().enumerate() {
        let scaled = scale(bits, power);
        if scaled.is_none() {
            found.positions.push(i as i64);
            found.bits.push(bits);
        }
        found.scaled.push(scaled.unwrap_or(filler));
    }
    Some(found)
}

/// The integer that stands for exactly these bits.
fn scale(bits: i64, power: f64) -> Option<i64> {
    let scaled = (f64::from_bits(bits as u64) * power + ROUNDER) - ROUNDER;
    let scaled = scaled as i64;
    (unscale(scaled, power) == bits).then_some(scaled)
}

fn unscale(scaled: i64, power: f64) -> i64 {
    (scaled as f64 / power).to_bits() as i64
}

impl Decimals {
    /// What [`Self::encode`] writes at most, about.
    pub(super) fn bytes(&self) -> usize {
        whole_bytes(&Shape::of(&self.scaled)) + 11 * self.bits.len()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.exponent);
        encode_whole(&self.scaled, &Shape::of(&self.scaled), out);
        put_u64(out, self.bits.len() as u64);
        encode_whole(&self.positions, &Shape::of(&self.positions), out);
        encode_whole(&self.bits, &Shape::of(&self.bits), out);
    }
}

/// Reads the bits of `count` floats.
pub(super) fn decode(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>> {
    let &power = POWERS.get(usize::from(input.u8()?)).ok_or(Damaged("an exponent above 15"))?;
    let mut out = take_whole(input, count)?;
    for slot in &mut out {
        *slot = unscale(*slot, power);
    }
    let exceptions = take_distinct(input, count)?;
    let positions = take_whole(input, exceptions)?;
    for (at, bits) in positions.into_iter().zip(take_whole(input, exceptions)?) {
        let slot = usize::try_from(at).ok().and_then(|at| out.get_mut(at)).ok_or(Damaged("an exception behind the last value"))?;
        *slot = bits;
    }
    Ok(out)
}

fn take_whole(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>> {
    let tag = input.u8()?;
    decode_whole(tag, input, count)
}
