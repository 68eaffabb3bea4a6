//! What one pass over integers tells about the size of each encoding.

use super::pack::{packed_len, width_of};
use std::collections::HashMap;

/// What an encoding takes besides its packed values, about: base, width, number of values.
const HEAD_BYTES: usize = 12;
/// Values looked at before giving up on a dictionary because too few come again.
const PROBE: usize = 128;

/// The bounds, runs and steps of some integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) count: usize,
    pub(super) min: i64,
    pub(super) max: i64,
    /// Steps from value to value, modulo 2^64.
    pub(super) min_step: i64,
    pub(super) max_step: i64,
    pub(super) runs: usize,
    longest_run: usize,
}

/// The difference of two integers, the first at most the second.
pub(super) fn span(min: i64, max: i64) -> u64 {
    max.wrapping_sub(min) as u64
}

impl Shape {
    pub(super) fn of(values: &[i64]) -> Self {
        let first = values.first().copied().unwrap_or(0);
        let mut shape =
            Self { count: values.len(), min: first, max: first, min_step: i64::MAX, max_step: i64::MIN, runs: 1, longest_run: 1 };
        let (mut before, mut run) = (first, 1);
        for &value in values.iter().skip(1) {
            let step = value.wrapping_sub(before);
            (shape.min, shape.max) = (shape.min.min(value), shape.max.max(value));
            (shape.min_step, shape.max_step) = (shape.min_step.min(step), shape.max_step.max(step));
            run = if step == 0 { run + 1 } else { 1 };
            shape.runs += usize::from(step != 0);
            shape.longest_run = shape.longest_run.max(run);
            before = value;
        }
        shape
    }

    /// Bits of a value above the least.
    pub(super) fn width(&self) -> u32 {
        width_of(span(self.min, self.max))
    }

    pub(super) fn packed_bytes(&self) -> usize {
        HEAD_BYTES + packed_len(self.count, self.width())
    }

    /// Only for two values or more.
    pub(super) fn steps_bytes(&self) -> usize {
        HEAD_BYTES + 8 + packed_len(self.count, width_of(span(self.min_step, self.max_step)))
    }

    pub(super) fn runs_bytes(&self) -> usize {
        2 * HEAD_BYTES + packed_len(self.runs, self.width() + width_of(self.longest_run as u64))
    }

    pub(super) fn dictionary_bytes(&self, distinct: usize) -> usize {
        2 * HEAD_BYTES + packed_len(distinct, self.width()) + packed_len(self.count, code_width(distinct))
    }
}

/// Bits of a code for one of `distinct` values.
pub(super) fn code_width(distinct: usize) -> u32 {
    width_of(distinct.saturating_sub(1) as u64)
}

/// The distinct values in the order of their first occurrence, and which of them each value is.
pub(super) struct Distinct<T> {
    pub(super) values: Vec<T>,
    pub(super) codes: Vec<u32>,
}

/// `None` if the values are too diverse for a dictionary to pay: more than half of them are distinct, or most of the first ones.
pub(super) fn distinct<T: Copy + Eq + std::hash::Hash>(all: &[T]) -> Option<Distinct<T>> {
    let mut known: HashMap<T, usize, foldhash::fast::RandomState> = HashMap::default();
    let (mut values, mut codes) = (Vec::new(), Vec::with_capacity(all.len()));
    for (i, &value) in all.iter().enumerate() {
        let code = *known.entry(value).or_insert_with(|| {
            values.push(value);
            values.len() - 1
        });
        codes.push(code as u32);
        if values.len() > all.len() / 2 || (i >= PROBE && values.len() > i / 4 * 3) {
            return None;
        }
    }
    Some(Distinct { values, codes })
}
