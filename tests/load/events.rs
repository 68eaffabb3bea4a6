//! Bodies of requests: 500 events each of ten attributes, about 400 bytes of values, as NDJSON.
//!
//! The texts are made once; a request copies some of them and writes its numbers in, so that the load costs little beside what it loads.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::ops::Range;

/// Events of a request.
pub const A_REQUEST: u64 = 500;
/// Different requests; numbers aside they repeat after that.
const BODIES: u64 = 200;
const USERS: u32 = 100_000;
/// Stands where an event's number goes: as many digits as numbers are given.
const PLACE: &str = "1000000000000";
const WORDS: [&str; 12] =
    ["match", "ranked", "lobby", "player", "left", "joined", "while", "the", "server", "restarted", "inventory", "purchase"];

/// A body, and where the number of each event goes.
struct Body {
    text: Vec<u8>,
    numbers: Vec<Range<usize>>,
}

/// All bodies.
pub struct Events {
    bodies: Vec<Body>,
}

impl Events {
    /// The same for the same seed.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self { bodies: (0..BODIES).map(|_| body(&mut random)).collect() }
    }

    /// Request `n`: its events are numbered from [`first`] on.
    pub fn request(&self, n: u64) -> Vec<u8> {
        let body = &self.bodies[(n % BODIES) as usize];
        let mut text = body.text.clone();
        for (at, place) in (first(n)..).zip(&body.numbers) {
            text[place.clone()].copy_from_slice(at.to_string().as_bytes());
        }
        text
    }
}

/// The number of a request's first event.
pub fn first(request: u64) -> u64 {
    10u64.pow(PLACE.len() as u32 - 1) + request * A_REQUEST
}

fn body(random: &mut StdRng) -> Body {
    let (mut text, mut numbers) = (Vec::new(), Vec::new());
    for _ in 0..A_REQUEST {
        let line = line(random);
        let place = line.find(PLACE).unwrap();
        numbers.push(text.len() + place..text.len() + place + PLACE.len());
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    Body { text, numbers }
}

/// Few users have most events, as in any real application.
fn user(random: &mut StdRng) -> String {
    let rank = f64::from(USERS).powf(random.random::<f64>()) as u32;
    format!("u{:05}", (u64::from(rank) * 61_803) % u64::from(USERS))
}

fn line(random: &mut StdRng) -> String {
    let second = random.random_range(0..86_400);
    let words = random.random_range(18..34);
    let message: Vec<&str> = (0..words).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect();
    let at = format!("2026-01-15T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
    json!({
        "user_id": user(random), "at": at, "event_id": PLACE.parse::<u64>().unwrap(),
        "event_type": WORDS[random.random_range(0..WORDS.len())], "session": format!("{:024x}", random.random::<u64>()),
        "device": "android-14", "country": "NL", "price": f64::from(random.random_range(99..100_000)) / 100.0,
        "quantity": random.random_range(1..20), "paid": random.random_bool(0.3), "received_at": at,
        "message": message.join(" "), "payload": { "screen": random.random_range(1..40), "ab": "variant-b", "latency_ms": random.random_range(1..900) },
    })
    .to_string()
}
