//! Which rows have a value.
//!
//! | tag | then |
//! |---|---|
//! | 0 all | |
//! | 1 none | |
//! | 2 bitmap | one bit a row, least significant first |
//! | 3 present at | number varint · rows with a value, integers that rise |
//! | 4 absent at | number varint · rows without, integers that rise |

use super::booleans::{bitmap_bytes, put_bitmap, take_bitmap};
use super::check_count;
use super::integers::{decode_ints, encode_ints, take_distinct};
use super::pack::{packed_len, width_of};
use crate::codec::{Damaged, Input, Result, put_u64};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, NullBuffer};

const ALL: u8 = 0;
const NONE: u8 = 1;
const BITMAP: u8 = 2;
const PRESENT_AT: u8 = 3;
const ABSENT_AT: u8 = 4;

/// Appends which rows have a value: the set ones.
pub(in crate::sstable) fn encode_presence(present: &BooleanBuffer, out: &mut Vec<u8>) {
    let (rows, set) = (present.len(), present.count_set_bits());
    match (set, rows - set) {
        (_, 0) => out.push(ALL),
        (0, _) => out.push(NONE),
        (set, _) if positions_bytes(rows, set) < bitmap_bytes(rows) => encode_positions(PRESENT_AT, present, out),
        (_, unset) if positions_bytes(rows, unset) < bitmap_bytes(rows) => encode_positions(ABSENT_AT, &!present, out),
        _ => {
            out.push(BITMAP);
            put_bitmap(present, out);
        }
    }
}

/// The size of `set` positions in so many rows, about: steps of twice the mean.
fn positions_bytes(rows: usize, set: usize) -> usize {
    6 + packed_len(set, width_of((2 * rows / set.max(1)) as u64) + 1)
}

fn encode_positions(tag: u8, set: &BooleanBuffer, out: &mut Vec<u8>) {
    let positions: Vec<i64> = set.set_indices().map(|row| row as i64).collect();
    out.push(tag);
    put_u64(out, positions.len() as u64);
    encode_ints(&positions, out);
}

/// Reads which of `rows` rows have a value; `None` if all have.
///
/// # Errors
/// `Damaged` if the bytes end early or are no encoding, and for more than [`super::MAX_VALUES`] rows.
pub(in crate::sstable) fn decode_presence(input: &mut Input<'_>, rows: usize) -> Result<Option<NullBuffer>> {
    check_count(rows)?;
    let present = match input.u8()? {
        ALL => return Ok(None),
        NONE => BooleanBuffer::new_unset(rows),
        BITMAP => take_bitmap(input, rows)?,
        PRESENT_AT => take_positions(input, rows)?,
        ABSENT_AT => !&take_positions(input, rows)?,
        _ => return Err(Damaged("an encoding of presence that this build does not know")),
    };
    Ok(Some(NullBuffer::new(present)))
}

fn take_positions(input: &mut Input<'_>, rows: usize) -> Result<BooleanBuffer> {
    let count = take_distinct(input, rows)?;
    let mut set = BooleanBufferBuilder::new(rows);
    set.append_n(rows, false);
    for at in decode_ints(input, count)? {
        match usize::try_from(at) {
            Ok(at) if at < rows => set.set_bit(at, true),
            _ => return Err(Damaged("a position behind the last row")),
        }
    }
    Ok(set.finish())
}
