//! Booleans: tag 0 all false, 1 all true, 2 a bitmap, least significant bit first, unused bits 0.

use super::check_count;
use crate::codec::{Damaged, Input, Result};
use arrow_buffer::{BooleanBuffer, Buffer};

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const BITMAP: u8 = 2;

/// Appends `values`.
pub(in crate::sstable) fn encode_bools(values: &BooleanBuffer, out: &mut Vec<u8>) {
    match values.count_set_bits() {
        0 => out.push(FALSE),
        set if set == values.len() => out.push(TRUE),
        _ => {
            out.push(BITMAP);
            put_bitmap(values, out);
        }
    }
}

/// Reads `count` booleans.
///
/// # Errors
/// `Damaged` if the bytes end early or are no encoding, and for more than [`super::MAX_VALUES`].
pub(in crate::sstable) fn decode_bools(input: &mut Input<'_>, count: usize) -> Result<BooleanBuffer> {
    check_count(count)?;
    match input.u8()? {
        FALSE => Ok(BooleanBuffer::new_unset(count)),
        TRUE => Ok(BooleanBuffer::new_set(count)),
        BITMAP => take_bitmap(input, count),
        _ => Err(Damaged("an encoding of booleans that this build does not know")),
    }
}

pub(super) fn bitmap_bytes(count: usize) -> usize {
    count.div_ceil(8)
}

pub(super) fn put_bitmap(values: &BooleanBuffer, out: &mut Vec<u8>) {
    // A buffer of its own begins at bit 0.
    let bits = values.sliced();
    let (whole, rest) = (values.len() / 8, values.len() % 8);
    out.extend_from_slice(&bits.as_slice()[..whole]);
    if rest > 0 {
        out.push(bits.as_slice()[whole] & ((1 << rest) - 1));
    }
}

pub(super) fn take_bitmap(input: &mut Input<'_>, count: usize) -> Result<BooleanBuffer> {
    let bits = input.take(bitmap_bytes(count))?;
    Ok(BooleanBuffer::new(Buffer::from(bits), 0, count))
}
