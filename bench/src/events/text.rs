//! Words, categories and documents.

use rand::Rng;
use rand::rngs::StdRng;
use std::fmt::Write;

pub(super) const EVENT_TYPES: [&str; 12] = [
    "page_view",
    "click",
    "search",
    "add_to_cart",
    "purchase",
    "login",
    "logout",
    "share",
    "comment",
    "upload",
    "download",
    "remove_from_cart",
];
pub(super) const DEVICES: [&str; 10] = [
    "iphone-15",
    "iphone-13",
    "pixel-8",
    "galaxy-s24",
    "ipad-air",
    "macbook-pro",
    "windows-desktop",
    "linux-desktop",
    "fire-tv",
    "unknown",
];
pub(super) const COUNTRIES: [&str; 16] = ["US", "DE", "FR", "GB", "JP", "BR", "IN", "CA", "AU", "ES", "IT", "NL", "SE", "PL", "MX", "KR"];
const REFERRERS: [&str; 6] = ["search", "newsletter", "direct", "campaign", "social", "partner"];

const ONSETS: [&str; 16] = ["b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr", "pl"];
const VOWELS: [&str; 6] = ["a", "e", "i", "o", "u", "ea"];
const CODAS: [&str; 8] = ["", "n", "r", "s", "t", "l", "nd", "ck"];

/// One of `of`, the first ones more often.
pub(super) fn skewed<'a>(random: &mut StdRng, of: &[&'a str]) -> &'a str {
    let at = random.random_range(0.0..1.0_f64);
    of[((at * at * of.len() as f64) as usize).min(of.len() - 1)]
}

/// Word number `n` of a vocabulary.
fn word(n: usize, out: &mut String) {
    let mut rest = n;
    loop {
        out.push_str(ONSETS[rest % ONSETS.len()]);
        out.push_str(VOWELS[(rest / 16) % VOWELS.len()]);
        out.push_str(CODAS[(rest / 96) % CODAS.len()]);
        rest /= 768;
        if rest == 0 {
            return;
        }
    }
}

/// 20 to 41 words, frequent ones more often.
pub(super) fn message(random: &mut StdRng) -> String {
    const VOCABULARY: f64 = 20_000.0;
    let words = random.random_range(20..42);
    let mut out = String::with_capacity(words * 7);
    for i in 0..words {
        if i > 0 {
            out.push(' ');
        }
        let at = random.random_range(0.0..1.0_f64);
        word((at * at * at * VOCABULARY) as usize, &mut out);
    }
    out
}

/// A small document as a client would send it.
pub(super) fn payload(random: &mut StdRng) -> String {
    let mut out = String::with_capacity(160);
    let item = random.random_range(0..50_000_u32);
    let referrer = skewed(random, &REFERRERS);
    let (ms, variant, trace): (u32, bool, u64) = (random.random_range(1..3_000), random.random(), random.random());
    let written = write!(
        out,
        r#"{{"page":"/shop/item/{item}","ref":"{referrer}","variant":"{}","ms":{ms},"sku":"A-{item:05}","trace":"{trace:016x}"}}"#,
        if variant { "a" } else { "b" }
    );
    written.map_or_else(|_| String::new(), |()| out)
}
