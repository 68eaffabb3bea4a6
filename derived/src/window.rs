//! Calendar windows: half-open, in a zone, weeks from Monday, of true length over clock changes.
//!
//! Window starts are the instants at which the zone's clock shows a full hour, or midnight of a day,
//! Monday or first of a month; of a midnight that occurs twice the first counts, and one that a clock
//! change skips is the first instant after it. Windows of a fixed length count from the Unix epoch.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};
use chrono_tz::Tz;
use common::time::{Micros, parse_duration};
use common::version::RangeSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a table's time is cut into windows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WindowSpec", into = "WindowSpec")]
pub struct Windows {
    every: Every,
    zone: Tz,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Every {
    Hour,
    Day,
    Week,
    Month,
    /// µs, above zero.
    Fixed(i64),
}

/// [`Windows`] as written in a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// `hour`, `day`, `week`, `month` or a duration (`15m`).
    pub every: String,
    /// An IANA zone.
    #[serde(default = "utc")]
    pub zone: String,
}

fn utc() -> String {
    "UTC".into()
}

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// 1970-01-05.
const MONDAY: i64 = 4 * DAY;
/// Calendar arithmetic holds from the year before year 1 (some clocks' "no time" is 0001-01-01) to 9996; instants
/// outside are clamped to it.
const EARLIEST: i64 = -62_160_000_000_000_000;
const LATEST: i64 = 253_300_000_000_000_000;

impl TryFrom<WindowSpec> for Windows {
    type Error = String;

    fn try_from(spec: WindowSpec) -> Result<Self, String> {
        let zone = spec.zone.parse().map_err(|_| format!("zone '{}' is unknown: write an IANA name such as Europe/Berlin", spec.zone))?;
        let every = match spec.every.as_str() {
            "hour" => Every::Hour,
            "day" => Every::Day,
            "week" => Every::Week,
            "month" => Every::Month,
            other => Every::Fixed(fixed(other)?),
        };
        if matches!(every, Every::Fixed(_)) && zone != Tz::UTC {
            return Err(format!("windows of '{}' count from the Unix epoch and take no zone: leave it out", spec.every));
        }
        Ok(Self { every, zone })
    }
}

fn fixed(text: &str) -> Result<i64, String> {
    let wrong = || format!("every '{text}': write hour, day, week, month or a duration of at least 1s such as 15m");
    let length = parse_duration(text).map_err(|_| wrong())?;
    let micros = i64::try_from(length.as_micros()).map_err(|_| wrong())?;
    if (1_000_000..=366 * DAY).contains(&micros) { Ok(micros) } else { Err(wrong()) }
}

impl From<Windows> for WindowSpec {
    fn from(w: Windows) -> Self {
        let every = match w.every {
            Every::Hour => "hour".into(),
            Every::Day => "day".into(),
            Every::Week => "week".into(),
            Every::Month => "month".into(),
            Every::Fixed(us) => format!("{}ms", us / 1000),
        };
        Self { every, zone: w.zone.name().into() }
    }
}

impl Windows {
    /// Calendar days in UTC.
    #[must_use]
    pub fn daily_utc() -> Self {
        Self { every: Every::Day, zone: Tz::UTC }
    }

    /// The start of the window that holds `t`.
    #[must_use]
    pub fn floor(&self, t: Micros) -> Micros {
        let t = clamp(t);
        if let Some((length, origin)) = self.even() {
            return Micros(t.0 - (t.0 - origin).rem_euclid(length));
        }
        match self.every {
            Every::Hour => self.hour_floor(t),
            _ => {
                let mut day = self.later(self.first_day(self.local_time(t).date()));
                while self.midnight(day) > t {
                    day = self.earlier(day);
                }
                self.midnight(day)
            }
        }
    }

    /// The end of the window that holds `t`: the first window start after `t`.
    #[must_use]
    pub fn next(&self, t: Micros) -> Micros {
        let t = clamp(t);
        if let Some((length, origin)) = self.even() {
            return Micros(t.0 - (t.0 - origin).rem_euclid(length) + length);
        }
        match self.every {
            Every::Hour => self.hour_next(t),
            _ => {
                let mut day = self.first_day(self.local_time(t).date());
                while self.midnight(day) <= t {
                    day = self.later(day);
                }
                self.midnight(day)
            }
        }
    }

    /// The first window start at or after `t`.
    #[must_use]
    pub fn ceil(&self, t: Micros) -> Micros {
        if self.floor(t) == t { t } else { self.next(t) }
    }

    /// The windows that meet `[start, end)`, in order.
    pub fn iter(&self, start: Micros, end: Micros) -> impl Iterator<Item = (Micros, Micros)> + '_ {
        let (mut at, end) = (self.floor(start), clamp(end));
        std::iter::from_fn(move || {
            let window = (at, self.next(at));
            at = window.1;
            (window.0 < end && start < end).then_some(window)
        })
    }

    /// How many windows meet `[start, end)`.
    #[must_use]
    pub fn count(&self, start: Micros, end: Micros) -> u64 {
        match self.even() {
            Some((length, _)) if start < end => {
                let (first, last) = (self.floor(start), self.ceil(clamp(end)));
                u64::try_from((last.0 - first.0) / length).unwrap_or_default()
            }
            _ => self.iter(start, end).count() as u64,
        }
    }

    /// All windows that meet `set`; unbounded ends stay unbounded.
    #[must_use]
    pub fn align_out(&self, set: &RangeSet) -> RangeSet {
        let start = |t: Micros| if t.0 < EARLIEST { Micros::MIN } else { self.floor(t) };
        let end = |t: Micros| if t.0 > LATEST { Micros::MAX } else { self.ceil(t) };
        set.ranges().iter().map(|&(s, e)| (start(s), end(e))).collect()
    }

    /// All windows that lie wholly inside `set`; unbounded ends stay unbounded.
    #[must_use]
    pub fn align_in(&self, set: &RangeSet) -> RangeSet {
        let start = |t: Micros| if t.0 < EARLIEST { Micros::MIN } else { self.ceil(t) };
        let end = |t: Micros| if t.0 > LATEST { Micros::MAX } else { self.floor(t) };
        set.ranges().iter().map(|&(s, e)| (start(s), end(e))).collect()
    }

    /// What the zone's clock shows at `t`, as µs since 1970-01-01T00:00:00 of that clock.
    #[must_use]
    pub fn local(&self, t: Micros) -> Micros {
        if t.0 < EARLIEST || t.0 > LATEST { t } else { Micros(t.0 + self.offset(t)) }
    }

    /// The first instant at which the zone's clock shows `local` or, if it skips that, something later.
    #[must_use]
    pub fn instant(&self, local: Micros) -> Micros {
        if local.0 < EARLIEST || local.0 > LATEST || self.zone == Tz::UTC {
            return local;
        }
        match self.zone.from_local_datetime(&naive(local)).earliest() {
            Some(t) => Micros(t.timestamp_micros()),
            None => self.search(Micros(local.0 - 36 * HOUR), Micros(local.0 + 36 * HOUR), |t| self.local(t) >= local),
        }
    }

    /// Whether a window may be shorter than a calendar day.
    #[must_use]
    pub fn is_below_a_day(&self) -> bool {
        match self.every {
            Every::Hour => true,
            Every::Fixed(length) => length % DAY != 0,
            _ => false,
        }
    }

    /// The IANA name of the zone.
    #[must_use]
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// Length and a start of windows that are all equally long, µs. Years of hourly windows are walked at every
    /// decision: these need no calendar.
    fn even(&self) -> Option<(i64, i64)> {
        match self.every {
            Every::Fixed(length) => Some((length, 0)),
            _ if self.zone != Tz::UTC => None,
            Every::Hour => Some((HOUR, 0)),
            Every::Day => Some((DAY, 0)),
            Every::Week => Some((7 * DAY, MONDAY)),
            Every::Month => None,
        }
    }

    fn offset(&self, t: Micros) -> i64 {
        if self.zone == Tz::UTC {
            return 0;
        }
        i64::from(self.zone.offset_from_utc_datetime(&naive(t)).fix().local_minus_utc()) * 1_000_000
    }

    fn local_time(&self, t: Micros) -> NaiveDateTime {
        naive(Micros(t.0 + self.offset(t)))
    }

    fn midnight(&self, day: NaiveDate) -> Micros {
        self.instant(Micros(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros()))
    }

    fn first_day(&self, day: NaiveDate) -> NaiveDate {
        match self.every {
            Every::Week => day - Days::new(day.weekday().num_days_from_monday().into()),
            Every::Month => day - Days::new(day.day0().into()),
            _ => day,
        }
    }

    fn later(&self, day: NaiveDate) -> NaiveDate {
        match self.every {
            Every::Week => day + Days::new(7),
            Every::Month => day + Months::new(1),
            _ => day + Days::new(1),
        }
    }

    fn earlier(&self, day: NaiveDate) -> NaiveDate {
        match self.every {
            Every::Week => day - Days::new(7),
            Every::Month => day - Months::new(1),
            _ => day - Days::new(1),
        }
    }

    /// The last instant at or before `t` at which the clock shows a full hour.
    fn hour_floor(&self, t: Micros) -> Micros {
        let offset = self.offset(t);
        let full = Micros(t.0 - (t.0 + offset).rem_euclid(HOUR));
        if self.offset(full) == offset {
            return full;
        }
        let change = self.search(full, t, |x| self.offset(x) == offset);
        self.hour_floor(Micros(change.0 - 1))
    }

    /// The first instant after `t` at which the clock shows a full hour.
    fn hour_next(&self, t: Micros) -> Micros {
        let offset = self.offset(t);
        let full = Micros(t.0 + HOUR - (t.0 + offset).rem_euclid(HOUR));
        if self.offset(full) == offset {
            return full;
        }
        let change = self.search(t, full, |x| self.offset(x) != offset);
        if (change.0 + self.offset(change)).rem_euclid(HOUR) == 0 { change } else { self.hour_next(change) }
    }

    /// The first instant in `(no, yes]` at which `holds`, which is false at `no`, true at `yes` and changes once.
    fn search(&self, no: Micros, yes: Micros, holds: impl Fn(Micros) -> bool) -> Micros {
        let (mut no, mut yes) = (no.0, yes.0);
        while yes - no > 1 {
            let middle = no + (yes - no) / 2;
            if holds(Micros(middle)) { yes = middle } else { no = middle }
        }
        Micros(yes)
    }
}

fn clamp(t: Micros) -> Micros {
    Micros(t.0.clamp(EARLIEST, LATEST))
}

fn naive(t: Micros) -> NaiveDateTime {
    DateTime::from_timestamp_micros(clamp(t).0).map(|t| t.naive_utc()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn windows(every: &str, zone: &str) -> Windows {
        WindowSpec { every: every.into(), zone: zone.into() }.try_into().unwrap()
    }

    fn at(text: &str) -> Micros {
        Micros::parse(text).unwrap()
    }

    #[test]
    fn days_have_true_length_over_clock_changes() {
        let berlin = windows("day", "Europe/Berlin");
        let spring = at("2026-03-29T12:00:00Z");
        assert_eq!(berlin.floor(spring), at("2026-03-28T23:00:00Z"));
        assert_eq!(berlin.next(spring), at("2026-03-29T22:00:00Z"));
        let autumn = at("2026-10-25T12:00:00Z");
        assert_eq!(berlin.next(autumn).0 - berlin.floor(autumn).0, 25 * HOUR);
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        assert_eq!(windows("week", "UTC").floor(at("2016-02-07T23:59:59Z")), at("2016-02-01"));
        let month = windows("month", "America/New_York");
        assert_eq!(month.floor(at("2016-03-01T02:00:00Z")), at("2016-02-01T05:00:00Z"));
        assert_eq!(month.next(at("2016-03-01T02:00:00Z")), at("2016-03-01T05:00:00Z"));
    }

    #[test]
    fn the_first_day_of_year_one_has_its_window() {
        let first = at("0001-01-01T00:00:00Z");
        for every in ["hour", "day", "week", "month", "15m"] {
            let windows = windows(every, "UTC");
            assert_eq!(windows.floor(first), first, "{every}");
            assert!(windows.next(first) > first, "{every}");
        }
        let new_york = windows("day", "America/New_York");
        assert!(new_york.floor(first) <= first && first < new_york.next(first));
    }

    #[test]
    fn a_skipped_midnight_is_the_first_instant_after_it() {
        let sao_paulo = windows("day", "America/Sao_Paulo");
        assert_eq!(sao_paulo.floor(at("2018-11-04T12:00:00Z")), at("2018-11-04T03:00:00Z"));
        let samoa = windows("day", "Pacific/Apia");
        assert_eq!(samoa.next(at("2011-12-30T05:00:00Z")), at("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn unknown_windows_are_refused() {
        for (every, zone) in [("fortnight", "UTC"), ("0s", "UTC"), ("day", "Mars/Base"), ("15m", "Europe/Berlin"), ("500d", "UTC")] {
            assert!(Windows::try_from(WindowSpec { every: every.into(), zone: zone.into() }).is_err(), "{every} {zone}");
        }
    }

    #[test]
    fn alignment_keeps_unbounded_ends() {
        let day = windows("day", "UTC");
        assert_eq!(day.align_out(&RangeSet::all()), RangeSet::all());
        let half = RangeSet::of(at("2016-01-01T12:00:00Z"), at("2016-01-03T12:00:00Z"));
        assert_eq!(day.align_out(&half), RangeSet::of(at("2016-01-01"), at("2016-01-04")));
        assert_eq!(day.align_in(&half), RangeSet::of(at("2016-01-02"), at("2016-01-03")));
    }

    fn zones() -> impl Strategy<Value = &'static str> {
        let names = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"];
        prop::sample::select([names.as_slice(), &["America/St_Johns", "Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca"]].concat())
    }

    proptest! {
        #[test]
        fn windows_are_a_gapless_partition(
            zone in zones(), every in prop::sample::select(vec!["hour", "day", "week", "month"]), t in 300_000_000i64..2_000_000_000,
        ) {
            let w = windows(every, zone);
            let t = Micros(t * 1_000_000 + 1);
            let (start, end) = (w.floor(t), w.next(t));
            prop_assert!(start <= t && t < end);
            prop_assert_eq!(w.floor(start), start);
            prop_assert_eq!(w.floor(Micros(end.0 - 1)), start);
            prop_assert_eq!(w.floor(end), end);
            prop_assert_eq!(w.next(start), end);
            prop_assert_eq!(w.next(Micros(start.0 - 1)), start);
        }

        #[test]
        fn local_time_leads_back_to_the_instant(zone in zones(), t in 300_000_000i64..2_000_000_000) {
            let w = windows("day", zone);
            let t = Micros(t * 1_000_000);
            prop_assert!(w.instant(w.local(t)) <= t);
            prop_assert_eq!(w.local(w.instant(w.local(t))), w.local(t));
        }
    }
}
