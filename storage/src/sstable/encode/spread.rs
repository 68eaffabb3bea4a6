//! From the values that are there to one slot a row: encodings hold no slots for rows without a value.

use crate::codec::{Damaged, Result};
use arrow_buffer::NullBuffer;

/// One slot a row, the default where `present` has none.
///
/// # Errors
/// `Damaged` unless there is one value for each row present.
pub(in crate::sstable) fn spread<T: Copy + Default>(values: &[T], present: &NullBuffer) -> Result<Vec<T>> {
    check(values.len(), present)?;
    let mut out = vec![T::default(); present.len()];
    for (&value, row) in values.iter().zip(present.valid_indices()) {
        out[row] = value;
    }
    Ok(out)
}

/// The offsets of one string a row, empty where `present` has none.
///
/// # Errors
/// `Damaged` unless there is one string for each row present.
pub(in crate::sstable) fn spread_offsets(offsets: &[i32], present: &NullBuffer) -> Result<Vec<i32>> {
    check(offsets.len().wrapping_sub(1), present)?;
    let mut out = Vec::with_capacity(present.len() + 1);
    out.push(0);
    let mut behind = 0;
    for is_present in present {
        behind += usize::from(is_present);
        out.push(offsets[behind]);
    }
    Ok(out)
}

fn check(values: usize, present: &NullBuffer) -> Result<()> {
    if values == present.len() - present.null_count() { Ok(()) } else { Err(Damaged("another number of values than rows present")) }
}
