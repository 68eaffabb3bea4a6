//! Functions of time that only round down or move: what lies between an input's event time and an
//! output's. All are monotone, so a range has exactly one range of times that map into it.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime};
use common::time::Micros;
use serde::{Deserialize, Serialize};

/// Calendar units of `date_trunc`, without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// 1 ms.
    Millisecond,
    /// 1 s.
    Second,
    /// 1 min.
    Minute,
    /// 1 h.
    Hour,
    /// 24 h; also a cast to date.
    Day,
    /// From Monday.
    Week,
    /// Calendar month.
    Month,
    /// Three calendar months.
    Quarter,
    /// Calendar year.
    Year,
}

/// One function of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Rounds down to the unit.
    Trunc(Unit),
    /// Rounds down to `origin + n · stride`, µs.
    Bin {
        /// Above zero.
        stride: i64,
        /// Where a bin starts.
        origin: i64,
    },
    /// Adds µs.
    Shift(i64),
}

/// Functions applied one after the other; none: the time itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeMap(pub Vec<Step>);

const MONDAY: i64 = 4 * DAY;
const DAY: i64 = 86_400_000_000;

impl TimeMap {
    /// The time itself.
    #[must_use]
    pub fn identity() -> Self {
        Self::default()
    }

    /// This, then `step`.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// The value at `t`; unbounded times stay unbounded.
    #[must_use]
    pub fn apply(&self, t: Micros) -> Micros {
        self.0.iter().fold(t, |t, step| step.apply(t))
    }

    /// The first `t` whose value is at or after `value`.
    #[must_use]
    pub fn first_at_or_after(&self, value: Micros) -> Micros {
        self.0.iter().rev().fold(value, |v, step| step.first_at_or_after(v))
    }
}

impl Step {
    fn apply(self, t: Micros) -> Micros {
        if t == Micros::MIN || t == Micros::MAX {
            return t;
        }
        match self {
            Self::Shift(by) => Micros(t.0.saturating_add(by)),
            Self::Bin { stride, origin } => floor_to(t, stride, origin),
            Self::Trunc(unit) => unit.floor(t),
        }
    }

    fn first_at_or_after(self, value: Micros) -> Micros {
        if value == Micros::MIN || value == Micros::MAX {
            return value;
        }
        match self {
            Self::Shift(by) => Micros(value.0.saturating_sub(by)),
            Self::Bin { stride, .. } => ceil_from(self.apply(value), value, |t| Micros(t.0.saturating_add(stride))),
            Self::Trunc(unit) => ceil_from(self.apply(value), value, |t| unit.next(t)),
        }
    }
}

fn ceil_from(floor: Micros, value: Micros, next: impl Fn(Micros) -> Micros) -> Micros {
    if floor == value { value } else { next(floor) }
}

fn floor_to(t: Micros, stride: i64, origin: i64) -> Micros {
    let since = i128::from(t.0) - i128::from(origin);
    let floor = i128::from(t.0) - since.rem_euclid(i128::from(stride.max(1)));
    Micros(i64::try_from(floor).unwrap_or(i64::MIN))
}

impl Unit {
    /// The unit of this name in `date_trunc`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "millisecond" => Self::Millisecond,
            "second" => Self::Second,
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "quarter" => Self::Quarter,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// Length and a start, µs; `None` for calendar months.
    fn even(self) -> Option<(i64, i64)> {
        Some(match self {
            Self::Millisecond => (1_000, 0),
            Self::Second => (1_000_000, 0),
            Self::Minute => (60_000_000, 0),
            Self::Hour => (DAY / 24, 0),
            Self::Day => (DAY, 0),
            Self::Week => (7 * DAY, MONDAY),
            Self::Month | Self::Quarter | Self::Year => return None,
        })
    }

    fn months(self) -> u32 {
        match self {
            Self::Quarter => 3,
            Self::Year => 12,
            _ => 1,
        }
    }

    fn floor(self, t: Micros) -> Micros {
        match self.even() {
            Some((stride, origin)) => floor_to(t, stride, origin),
            None => self.first_day(t).map_or(Micros::MIN, midnight),
        }
    }

    fn next(self, floor: Micros) -> Micros {
        match self.even() {
            Some((stride, _)) => Micros(floor.0.saturating_add(stride)),
            None => self.first_day(floor).and_then(|d| d.checked_add_months(Months::new(self.months()))).map_or(Micros::MAX, midnight),
        }
    }

    fn first_day(self, t: Micros) -> Option<NaiveDate> {
        let day = DateTime::from_timestamp_micros(t.0)?.date_naive();
        NaiveDate::from_ymd_opt(day.year(), day.month0() / self.months() * self.months() + 1, 1)
    }
}

fn midnight(day: NaiveDate) -> Micros {
    Micros(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps() -> impl Strategy<Value = Step> {
        let units = vec![Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year];
        prop_oneof![
            prop::sample::select(units).prop_map(Step::Trunc),
            (1i64..10 * DAY, -DAY..DAY).prop_map(|(stride, origin)| Step::Bin { stride, origin }),
            (-40 * DAY..40 * DAY).prop_map(Step::Shift),
        ]
    }

    proptest! {
        #[test]
        fn the_first_time_at_or_after_a_value_is_exact(map in prop::collection::vec(steps(), 0..4), v in -2_000_000_000_000_000i64..2_000_000_000_000_000) {
            let map = TimeMap(map);
            let first = map.first_at_or_after(Micros(v));
            prop_assert!(map.apply(first) >= Micros(v));
            prop_assert!(map.apply(Micros(first.0 - 1)) < Micros(v));
        }
    }

    #[test]
    fn truncation_is_that_of_sql() {
        let at = |text: &str| Micros::parse(text).unwrap();
        let t = at("2016-02-07T16:59:04.295Z");
        for (unit, want) in [
            ("second", "2016-02-07T16:59:04Z"),
            ("hour", "2016-02-07T16:00:00Z"),
            ("day", "2016-02-07"),
            ("week", "2016-02-01"),
            ("month", "2016-02-01"),
            ("quarter", "2016-01-01"),
            ("year", "2016-01-01"),
        ] {
            assert_eq!(TimeMap(vec![Step::Trunc(Unit::parse(unit).unwrap())]).apply(t), at(want), "{unit}");
        }
        assert_eq!(TimeMap(vec![Step::Trunc(Unit::Month)]).apply(at("1969-12-31")), at("1969-12-01"));
    }
}
