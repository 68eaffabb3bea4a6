//! What the rows and cells of an SSTable have in common, so that a reader of one time or one rule need not open it.

use common::time::{Micros, TimeRange};
use serde::{Deserialize, Serialize};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// An SSTable holds rows and cells of one slice key only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SliceKey {
    /// The maximum age, in seconds, that the families of its cells had when it was written; 0: they are kept for any time.
    /// Families of different ages lie apart, so that what has expired goes as a file.
    pub max_age: u64,
    /// The slice of time that its rows' event times lie in, or, in a table whose keys have none, its cells' timestamps.
    pub slice: Option<Slice>,
}

/// A range of time, in UTC, numbered from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Slice {
    /// An hour.
    Hour(i64),
    /// A day.
    Day(i64),
    /// A calendar month.
    Month(i64),
}

impl Slice {
    /// The hour that holds `t`.
    #[must_use]
    pub fn hour(t: Micros) -> Self {
        Self::Hour(t.0.div_euclid(HOUR))
    }

    /// The day that holds `t`.
    #[must_use]
    pub fn day(t: Micros) -> Self {
        Self::Day(t.0.div_euclid(DAY))
    }

    /// The month that holds `t`.
    #[must_use]
    pub fn month(t: Micros) -> Self {
        Self::Month(month_of(t.0.div_euclid(DAY)))
    }

    /// The times inside. Beyond the first and last representable instant it is cut.
    #[must_use]
    pub fn times(self) -> TimeRange {
        let from = |first: i64, unit: i64| Micros(first.saturating_mul(unit));
        match self {
            Self::Hour(n) => TimeRange { start: from(n, HOUR), end: from(n.saturating_add(1), HOUR) },
            Self::Day(n) => TimeRange { start: from(n, DAY), end: from(n.saturating_add(1), DAY) },
            Self::Month(n) => TimeRange { start: from(first_day(n), DAY), end: from(first_day(n.saturating_add(1)), DAY) },
        }
    }

    /// Whether some time lies in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let (a, b) = (self.times(), other.times());
        a.start < b.end && b.start < a.end
    }
}

/// Days from 0000-03-01 to 1970-01-01: years then end with February, and leap days come last.
const TO_MARCH: i64 = 719_468;
/// Days of 400 years.
const ERA: i64 = 146_097;

/// Months since 1970 of a day since 1970. By H. Hinnant, "chrono-compatible low-level date algorithms".
fn month_of(day: i64) -> i64 {
    let day = day + TO_MARCH;
    let (era, of_era) = (day.div_euclid(ERA), day.rem_euclid(ERA));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    (era * 400 + year) * 12 + from_march + 2 - 1970 * 12
}

/// The first day of a month, both since 1970.
fn first_day(month: i64) -> i64 {
    // Stored bytes may say any number; beyond this no instant lies.
    let from_march = month.clamp(-4_000_000, 4_000_000) + 1970 * 12 - 2;
    let (year, month) = (from_march.div_euclid(12), from_march.rem_euclid(12));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 - TO_MARCH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Micros {
        Micros::parse(text).unwrap()
    }

    #[test]
    fn slices_begin_and_end_where_the_calendar_does() {
        let noon = at("2024-02-29T12:30:00Z");
        let ends = |s: Slice| (s.times().start.to_rfc3339(), s.times().end.to_rfc3339());
        assert_eq!(ends(Slice::hour(noon)), ("2024-02-29T12:00:00Z".into(), "2024-02-29T13:00:00Z".into()));
        assert_eq!(ends(Slice::day(noon)), ("2024-02-29T00:00:00Z".into(), "2024-03-01T00:00:00Z".into()));
        assert_eq!(ends(Slice::month(noon)), ("2024-02-01T00:00:00Z".into(), "2024-03-01T00:00:00Z".into()));
        assert_eq!(Slice::month(at("1970-01-31")), Slice::Month(0));
        assert_eq!(Slice::month(at("1969-12-31")), Slice::Month(-1));
        assert_eq!(ends(Slice::month(at("1900-02-28"))), ("1900-02-01T00:00:00Z".into(), "1900-03-01T00:00:00Z".into()));
    }

    proptest! {
        #[test]
        fn every_time_lies_in_its_slices(t in any::<i64>(), n in any::<i64>()) {
            for slice in [Slice::hour(Micros(t)), Slice::day(Micros(t)), Slice::month(Micros(t))] {
                prop_assert!(slice.times().contains(Micros(t)), "{:?}", slice);
                prop_assert!(slice.overlaps(Slice::hour(Micros(t))));
            }
            for damaged in [Slice::Hour(n), Slice::Day(n), Slice::Month(n)] {
                prop_assert!(damaged.times().start <= damaged.times().end);
            }
        }
    }
}
