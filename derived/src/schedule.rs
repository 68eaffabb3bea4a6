//! When due work may start: at the times of a schedule.

use crate::window::{WindowSpec, Windows};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use common::time::{Micros, parse_duration};
use croner::Cron;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Times at which work may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// As written: `every 1h`, or a cron pattern.
    pub text: String,
    /// The IANA name of the zone whose clock counts.
    pub zone: String,
}

/// A schedule that can be asked.
enum Times {
    /// At each multiple of this many µs of the zone's clock.
    Every(i64, Windows),
    Cron(Box<Cron>, Tz),
}

impl Schedule {
    /// Reads a schedule; `None` for `on_data`: at any time.
    ///
    /// # Errors
    /// A sentence that says what may be written.
    pub fn parse(text: &str, zone: &str) -> Result<Option<Self>, String> {
        if text == "on_data" {
            return Ok(None);
        }
        let schedule = Self { text: text.to_owned(), zone: zone.to_owned() };
        schedule.times().map(|_| Some(schedule))
    }

    fn times(&self) -> Result<Times, String> {
        if let Some(every) = self.text.strip_prefix("every ") {
            let every = parse_duration(every)?;
            let micros = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
            let clock = Windows::try_from(WindowSpec { every: "day".into(), zone: self.zone.clone() })?;
            return match micros {
                0 => Err("every: a schedule of no time never comes: write at least every 1s".into()),
                micros => Ok(Times::Every(micros, clock)),
            };
        }
        let zone: Tz = self.zone.parse().map_err(|_| format!("zone '{}' is unknown", self.zone))?;
        match Cron::from_str(&self.text) {
            Ok(cron) => Ok(Times::Cron(Box::new(cron), zone)),
            Err(e) => Err(format!("'{}' is neither on_data, nor 'every 1h', nor a cron pattern such as '0 6 * * *': {e}", self.text)),
        }
    }

    /// The last scheduled time at or before `now`.
    #[must_use]
    pub fn last(&self, now: Micros) -> Option<Micros> {
        match self.times().ok()? {
            Times::Every(every, clock) => {
                let local = clock.local(now).0;
                let at = clock.instant(Micros(local - local.rem_euclid(every)));
                // A clock set back shows a time twice.
                Some(if at > now { Micros(at.0 - every) } else { at })
            }
            Times::Cron(cron, zone) => Some(micros(&cron.find_previous_occurrence(&at(now, zone)?, true).ok()?)),
        }
    }

    /// The first scheduled time after `now`.
    #[must_use]
    pub fn next(&self, now: Micros) -> Option<Micros> {
        match self.times().ok()? {
            Times::Every(every, clock) => {
                let local = clock.local(now).0;
                let at = clock.instant(Micros(local - local.rem_euclid(every) + every));
                Some(if at <= now { Micros(at.0 + every) } else { at })
            }
            Times::Cron(cron, zone) => Some(micros(&cron.find_next_occurrence(&at(now, zone)?, false).ok()?)),
        }
    }
}

fn at(t: Micros, zone: Tz) -> Option<DateTime<Tz>> {
    Some(DateTime::<Utc>::from_timestamp_micros(t.0)?.with_timezone(&zone))
}

fn micros(t: &DateTime<Tz>) -> Micros {
    Micros(t.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, zone: &str) -> Schedule {
        Schedule::parse(text, zone).unwrap().unwrap()
    }

    fn t(text: &str) -> Micros {
        Micros::parse(text).unwrap()
    }

    #[test]
    fn a_schedule_is_every_so_often_or_a_cron_pattern() {
        let now = t("2026-03-10T09:17:30Z");
        for (schedule, last, next) in [
            (of("every 1h", "UTC"), "2026-03-10T09:00:00Z", "2026-03-10T10:00:00Z"),
            (of("every 15m", "UTC"), "2026-03-10T09:15:00Z", "2026-03-10T09:30:00Z"),
            (of("every 1d", "Europe/Berlin"), "2026-03-09T23:00:00Z", "2026-03-10T23:00:00Z"),
            (of("0 6 * * *", "UTC"), "2026-03-10T06:00:00Z", "2026-03-11T06:00:00Z"),
            (of("0 6 * * *", "Europe/Berlin"), "2026-03-10T05:00:00Z", "2026-03-11T05:00:00Z"),
            (of("30 5 * * MON", "UTC"), "2026-03-09T05:30:00Z", "2026-03-16T05:30:00Z"),
        ] {
            assert_eq!((schedule.last(now), schedule.next(now)), (Some(t(last)), Some(t(next))), "{schedule:?}");
            assert_eq!(schedule.last(t(last)), Some(t(last)), "a scheduled time is its own last");
            assert_eq!(schedule.next(t(last)), Some(t(next)));
        }
        assert_eq!(Schedule::parse("on_data", "UTC"), Ok(None));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in ["hourly", "every now and then", "61 * * * *", "every 0s", ""] {
            assert!(Schedule::parse(text, "UTC").is_err(), "{text}");
        }
        assert!(Schedule::parse("hourly", "UTC").unwrap_err().contains("'0 6 * * *'"));
    }

    #[test]
    fn a_changed_clock_skips_and_repeats_no_scheduled_time() {
        let hourly = of("every 1h", "Europe/Berlin");
        let mut now = t("2026-10-24T22:30:00Z");
        for _ in 0..6 {
            let next = hourly.next(now).unwrap();
            assert!(next > now && hourly.last(next) == Some(next), "{now} → {next}");
            now = next;
        }
    }
}
