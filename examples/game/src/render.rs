//! An event as a line of JSON.

use crate::plan::{DAY, Event, HOUR, Kind, MINUTE, SECOND};
use crate::random::Random;
use std::fmt::Write;

const DEVICES: [(&str, &str); 4] = [("android", "Pixel 9"), ("iphone", "iPhone 16"), ("ipad", "iPad Air"), ("web", "Chrome")];
const COUNTRIES: [&str; 10] = ["US", "DE", "BR", "JP", "IN", "GB", "FR", "MX", "PL", "KR"];
const ITEMS: [(&str, &str); 6] = [
    ("gems_small", "0.99"),
    ("gems_large", "9.99"),
    ("starter_pack", "4.99"),
    ("season_pass", "14.99"),
    ("dragon_skin", "2.99"),
    ("extra_lives", "1.99"),
];
const BOOSTERS: [&str; 5] = ["hammer", "shuffle", "freeze", "magnet", "double_score"];
const CHANNELS: [&str; 3] = ["guild", "global", "friend"];
const ADS: [&str; 3] = ["rewarded", "interstitial", "banner"];

/// Appends the line of `event`, its newline included.
pub fn line(seed: u64, event: &Event, out: &mut String) {
    let mut random = Random::of(seed, if event.late { 5 } else { 3 }, u64::from(event.id));
    // Writing to a string cannot fail.
    let _ = head(seed, event, out).and_then(|()| attributes(event, &mut random, out));
    out.push_str("}\n");
}

fn head(seed: u64, event: &Event, out: &mut String) -> std::fmt::Result {
    let mut traits = Random::of(seed, 6, u64::from(event.player));
    let device = DEVICES[traits.weighted(&[45, 35, 12, 8])].0;
    let country = COUNTRIES[traits.weighted(&[30, 15, 12, 10, 9, 7, 6, 5, 3, 3])];
    let (prefix, time) = (if event.late { "late" } else { "e" }, event.at % DAY);
    write!(out, "{{\"user_id\":\"{}\",\"at\":\"2026-01-{:02}T", player_id(event.player), 12 + event.at / DAY)?;
    write!(out, "{:02}:{:02}:{:02}.{:03}Z\"", time / HOUR, time / MINUTE % 60, time / SECOND % 60, time % SECOND)?;
    write!(out, ",\"event_id\":\"{prefix}{:07}\",\"event_type\":\"{}\"", event.id, name(event.kind))?;
    write!(out, ",\"device\":\"{device}\",\"country\":\"{country}\"")?;
    if event.kind == Kind::Chat { Ok(()) } else { write!(out, ",\"session_id\":\"{prefix}s{:06}\"", event.session) }
}

/// Player numbers in another order than the ranks, so that the busiest are not neighbours.
fn player_id(rank: u32) -> String {
    format!("u{:05}", (u64::from(rank) * 7_919 + 4_242) % 100_003)
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::SessionStart => "session_start",
        Kind::LevelStart => "level_start",
        Kind::LevelComplete => "level_complete",
        Kind::LevelFail => "level_fail",
        Kind::Purchase => "purchase",
        Kind::ItemUsed => "item_used",
        Kind::Chat => "chat",
        Kind::AdView => "ad_view",
        Kind::Crash => "crash",
        Kind::DeviceReport => "device_report",
        Kind::SessionEnd => "session_end",
    }
}

fn attributes(event: &Event, random: &mut Random, out: &mut String) -> std::fmt::Result {
    let level = event.level;
    match event.kind {
        Kind::SessionStart => {
            let version = random.pick(&["2.8.4", "2.9.0", "2.9.1"]);
            write!(out, ",\"app_version\":\"{version}\",\"voice_chat\":{},\"level\":{level}", random.per_mille(120))
        }
        Kind::SessionEnd => write!(out, ",\"coins\":{}", random.below(9_000)),
        Kind::LevelStart => write!(out, ",\"level\":{level},\"lives\":{}", random.between(1, 6)),
        Kind::LevelComplete => {
            let (score, time) = (random.between(50, 1_000) * 10, random.between(150, 3_000));
            write!(
                out,
                ",\"level\":{level},\"score\":{score},\"time_spent\":{}.{},\"stars\":{}",
                time / 10,
                time % 10,
                random.between(1, 4)
            )
        }
        Kind::LevelFail => write!(out, ",\"level\":{level},\"reason\":\"{}\"", random.pick(&["time", "moves", "quit"])),
        Kind::Purchase => {
            let (item, price) = ITEMS[random.weighted(&[40, 10, 15, 6, 14, 15])];
            write!(out, ",\"price\":{price},\"item_id\":\"{item}\",\"currency\":\"USD\",\"level\":{level}")
        }
        Kind::ItemUsed => write!(out, ",\"item_id\":\"{}\",\"quantity\":{}", random.pick(&BOOSTERS), random.between(1, 4)),
        Kind::Chat => write!(out, ",\"channel\":\"{}\",\"chars\":{}", random.pick(&CHANNELS), random.between(2, 180)),
        Kind::AdView => {
            write!(out, ",\"ad\":{{\"kind\":\"{}\",\"seconds\":{}}},\"level\":{level}", random.pick(&ADS), random.between(3, 31))
        }
        Kind::Crash => {
            write!(out, ",\"signal\":\"{}\",\"memory_mb\":{}", random.pick(&["SIGSEGV", "SIGABRT", "OOM"]), random.between(200, 3_000))?;
            write!(out, ",\"screen\":\"{}\",\"uptime_s\":{}", random.pick(&["map", "shop", "level"]), random.below(7_200))
        }
        Kind::DeviceReport => device_report(random, out),
    }
}

/// Fifty attributes in all: seven in front, the model, and 42 counters.
fn device_report(random: &mut Random, out: &mut String) -> std::fmt::Result {
    write!(out, ",\"model\":\"{}\"", random.pick(&DEVICES).1)?;
    for (group, count) in [("cpu", 8), ("gpu", 6), ("mem", 8), ("net", 10), ("fps", 10)] {
        for n in 0..count {
            write!(out, ",\"{group}_{n}\":{}", random.below(1_000))?;
        }
    }
    Ok(())
}
