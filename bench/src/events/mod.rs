//! The events that every engine is given: deterministic for a seed, arriving in time order with some jitter.
//!
//! A row is its key (`user_id`, `at`, `event_id`) and ten attributes, about 400 bytes together: ids, times,
//! categories, free text, JSON, a float that is often missing, a bool. Users follow Zipf's law.

mod text;
mod zipf;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use zipf::Zipf;

/// First event: 2026-01-01T00:00:00Z, in µs since the Unix epoch.
pub const START_MICROS: i64 = 1_767_225_600_000_000;
/// Events of one table lie within so many µs from [`START_MICROS`]: 28 days.
pub const SPAN_MICROS: i64 = 28 * DAY_MICROS;
/// One day in µs.
pub const DAY_MICROS: i64 = 86_400_000_000;
/// Rows per user on average.
const ROWS_PER_USER: usize = 20;

/// One event as its sender holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Key part: who.
    pub user_id: String,
    /// Key part: when, µs since the Unix epoch.
    pub at: i64,
    /// Key part: which; always even, so that odd ids name rows that are not there.
    pub event_id: i64,
    /// One of a dozen.
    pub event_type: &'static str,
    /// 24 hexadecimal digits, the same for a user's events of one hour.
    pub session: String,
    /// One of a dozen.
    pub device: &'static str,
    /// Two letters.
    pub country: &'static str,
    /// Present in two of five events.
    pub price: Option<f64>,
    /// Small.
    pub quantity: i64,
    /// Whether it was paid for.
    pub paid: bool,
    /// When it arrived, µs since the Unix epoch.
    pub received_at: i64,
    /// Words.
    pub message: String,
    /// A JSON document.
    pub payload: String,
}

/// Makes events one after the other.
#[derive(Debug)]
pub struct Generator {
    random: StdRng,
    users: Zipf,
    rows: usize,
    made: usize,
}

impl Generator {
    /// `rows` events, the same for the same seed.
    #[must_use]
    pub fn new(rows: usize, seed: u64) -> Self {
        let users = Zipf::new((rows / ROWS_PER_USER).max(100));
        Self { random: StdRng::seed_from_u64(seed), users, rows, made: 0 }
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.made == self.rows {
            return None;
        }
        let number = self.made as i64;
        self.made += 1;
        let step = SPAN_MICROS / self.rows as i64;
        let received_at = START_MICROS + number * step + self.random.random_range(0..step.max(1));
        // Most come within seconds, some late.
        let lag = if self.random.random_bool(0.02) { 3_600_000_000 } else { 5_000_000 };
        let at = received_at - self.random.random_range(0..lag);
        let user = self.users.pick(&mut self.random);
        Some(event(&mut self.random, user, number * 2, at, received_at))
    }
}

/// The user id of a rank; ranks are scattered over the key space.
fn user_id(rank: usize) -> String {
    let scattered = (rank as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    format!("u{scattered:010}")
}

fn event(random: &mut StdRng, user: usize, event_id: i64, at: i64, received_at: i64) -> Event {
    let session = (user as u64 ^ (at / 3_600_000_000) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    Event {
        user_id: user_id(user),
        at,
        event_id,
        event_type: text::skewed(random, &text::EVENT_TYPES),
        session: format!("{session:016x}{:08x}", user as u32),
        device: text::DEVICES[user % text::DEVICES.len()],
        country: text::COUNTRIES[user % text::COUNTRIES.len()],
        price: random.random_bool(0.4).then(|| f64::from(random.random_range(99..100_000_u32)) / 100.0),
        quantity: random.random_range(1..20),
        paid: random.random_bool(0.3),
        received_at,
        message: text::message(random),
        payload: text::payload(random),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_same_seed_gives_the_same_events() {
        let one: Vec<_> = Generator::new(500, 7).collect();
        assert_eq!(one, Generator::new(500, 7).collect::<Vec<_>>());
        assert_ne!(one, Generator::new(500, 8).collect::<Vec<_>>());
        assert_eq!(one.len(), 500);
    }

    #[test]
    fn users_are_skewed_and_times_lie_in_the_span() {
        let mut users: HashMap<String, usize> = HashMap::new();
        for e in Generator::new(20_000, 1) {
            assert!(e.at >= START_MICROS - 3_600_000_000 && e.at < START_MICROS + SPAN_MICROS);
            assert_eq!(e.event_id % 2, 0);
            *users.entry(e.user_id).or_default() += 1;
        }
        let top = users.values().max().copied().unwrap_or_default();
        assert!(top > 1_000 && users.len() > 300, "{top} of the first of {} users", users.len());
    }

    #[test]
    fn rows_are_about_400_bytes() {
        let bytes: usize = Generator::new(2_000, 1).map(|e| crate::codec::key_of(&e).len() + crate::codec::encode(&e).len()).sum();
        let mean = bytes / 2_000;
        assert!((360..460).contains(&mean), "{mean}");
    }
}
