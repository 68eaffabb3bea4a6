//! Wall and monotonic time, behind a trait so that tests can drive them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch (UTC). Cell timestamps and event times are `Micros`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// The earliest representable instant.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest representable instant.
    pub const MAX: Self = Self(i64::MAX);

    /// This instant moved by `d` to the past; saturates.
    #[must_use]
    pub fn before(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This instant moved by `d` to the future; saturates.
    #[must_use]
    pub fn after(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }

    /// RFC 3339 in UTC with as many of the six sub-second digits as are needed
    /// (`2016-02-01T16:59:04.295Z`); instants outside the calendar print as `…us`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        match chrono::DateTime::from_timestamp_micros(self.0) {
            Some(t) => t.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            None => format!("{}us", self.0),
        }
    }

    /// Parses RFC 3339 (any offset), `YYYY-MM-DD[ T]HH:MM[:SS[.fraction]]` (UTC) or `YYYY-MM-DD` (UTC midnight).
    ///
    /// # Errors
    /// A sentence that quotes `text` and names the accepted forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        use chrono::{DateTime, NaiveDate, NaiveDateTime};
        if let Ok(t) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(t.timestamp_micros()));
        }
        for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
            if let Ok(t) = NaiveDateTime::parse_from_str(text, form) {
                return Ok(Self(t.and_utc().timestamp_micros()));
            }
        }
        if let Ok(d) = NaiveDate::parse_from_str(text, "%Y-%m-%d")
            && let Some(t) = d.and_hms_opt(0, 0, 0)
        {
            return Ok(Self(t.and_utc().timestamp_micros()));
        }
        Err(format!("'{text}' is not a time: write RFC 3339 (2026-01-31T12:00:00Z) or a date (2026-01-31)"))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// The only source of time in Stele.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time. May jump.
    fn now(&self) -> Micros;
    /// Time since some fixed point of this process; never goes back. Leases run on it.
    fn monotonic(&self) -> Duration;
}

/// A clock that everyone holds.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// The machine's clocks, shared.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self { start: std::time::Instant::now() })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Micros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Micros::default().after(since)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    micros: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Micros) -> Arc<Self> {
        Arc::new(Self { micros: AtomicI64::new(now.0) })
    }

    /// Moves wall and monotonic time forward.
    pub fn advance(&self, d: Duration) {
        self.micros.fetch_add(d.as_micros() as i64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Micros {
        Micros(self.micros.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::SeqCst).max(0) as u64)
    }
}

/// A half-open range of cell timestamps or event times, µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeRange {
    /// First instant inside.
    pub start: Micros,
    /// First instant after; `Micros::MAX` means unbounded.
    pub end: Micros,
}

impl TimeRange {
    /// Everything.
    pub const ALL: Self = Self { start: Micros::MIN, end: Micros::MAX };

    /// Whether `t` lies inside; the unbounded end includes `Micros::MAX` itself.
    #[must_use]
    pub fn contains(&self, t: Micros) -> bool {
        self.start <= t && (t < self.end || self.end == Micros::MAX)
    }

    /// Whether nothing lies inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

impl Default for TimeRange {
    fn default() -> Self {
        Self::ALL
    }
}

/// Parses `90s`, `15m`, `2h`, `30d` or a sum of them (`1h30m`).
///
/// # Errors
/// A sentence that quotes `text` and names the accepted forms.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration: write 90s, 15m, 2h, 30d or 1h30m");
    let (mut total, mut number) = (0u64, String::new());
    let mut rest = text.trim().chars().peekable();
    if rest.peek().is_none() {
        return Err(wrong());
    }
    while let Some(c) = rest.next() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let n: u64 = number.parse().map_err(|_| wrong())?;
        number.clear();
        let unit = match c {
            'm' if rest.peek() == Some(&'s') => {
                rest.next();
                1
            }
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return Err(wrong()),
        };
        total = n.checked_mul(unit).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
    }
    if number.is_empty() { Ok(Duration::from_millis(total)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_and_parse_back() {
        for text in ["2016-02-01T16:59:04.295Z", "2015-01-01T00:00:00Z", "1969-12-31T23:59:59.000001Z"] {
            assert_eq!(Micros::parse(text).unwrap().to_rfc3339(), text);
        }
        assert_eq!(Micros::parse("2016-02-01").unwrap(), Micros::parse("2016-02-01T01:00:00+01:00").unwrap());
        assert!(Micros::parse("yesterday").unwrap_err().contains("yesterday"));
    }

    #[test]
    fn durations_parse_or_say_why() {
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        for bad in ["", "5", "h", "5x", "-1s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
