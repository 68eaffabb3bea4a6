//! A week of a mobile game with one heavy day, as NDJSON lines; the same seed gives the same bytes.
//!
//! Players follow a Zipf law, join and leave during the week, play in sessions with a daily rhythm, and
//! peak at a push message and a tournament on the heavy day, 2026-01-15 (UTC). Lines come in order of
//! arrival: about 1 % of the events arrive minutes to hours late, and 0.5 % arrive a second time, byte for
//! byte. Most events have some ten attributes, device reports have fifty.

mod plan;
mod random;
mod render;

use plan::Event;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Another seed is another game.
    pub seed: u64,
    /// Distinct events; repeated lines come on top.
    pub events: usize,
    /// Players to draw from; not all of them play.
    pub players: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { seed: 20_260_115, events: 200_000, players: 20_000 }
    }
}

/// The generated week.
#[derive(Debug)]
pub struct Game {
    seed: u64,
    /// In order of arrival, repeats included.
    events: Vec<Event>,
    late: Vec<Event>,
}

impl Game {
    /// Plans every event.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { seed: config.seed, events: plan::week(config), late: plan::late(config) }
    }

    /// How many lines there are, repeats included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are no lines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Appends line `index` (a JSON object and a newline) to `out`; nothing past the end.
    pub fn write_line(&self, index: usize, out: &mut String) {
        if let Some(event) = self.events.get(index) {
            render::line(self.seed, event, out);
        }
    }

    /// All lines, each with its newline.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.events.iter().map(|e| self.line(e))
    }

    /// Events of two players who were offline on 2026-01-13: they come when that day has long been computed.
    pub fn late_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.late.iter().map(|e| self.line(e))
    }

    fn line(&self, event: &Event) -> String {
        let mut out = String::with_capacity(256);
        render::line(self.seed, event, &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    fn game(events: usize) -> Game {
        Game::new(&Config { events, ..Config::default() })
    }

    fn field<'a>(line: &'a str, name: &str) -> &'a str {
        let rest = line.split_once(&format!("\"{name}\":\"")).unwrap().1;
        rest.split_once('"').unwrap().0
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let of = |seed| Game::new(&Config { seed, events: 2_000, players: 500 }).lines().collect::<String>();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn every_event_is_distinct_but_for_exact_repeats() {
        let lines: Vec<_> = game(20_000).lines().collect();
        let mut by_id = HashMap::new();
        for line in &lines {
            assert_eq!(by_id.entry(field(line, "event_id").to_owned()).or_insert(line), &line);
        }
        assert_eq!(by_id.len(), 20_000);
        let repeats = lines.len() - by_id.len();
        assert!((50..200).contains(&repeats), "{repeats} repeats");
    }

    #[test]
    fn one_day_is_heavy_and_some_events_are_late() {
        let lines: Vec<_> = game(50_000).lines().collect();
        let heavy = lines.iter().filter(|l| field(l, "at").starts_with("2026-01-15")).count();
        assert!(heavy * 10 > lines.len() * 6, "{heavy} of {}", lines.len());
        let mut newest = "";
        let late = lines.iter().filter(|l| {
            let at = field(l, "at");
            newest = newest.max(at);
            // A minute behind, compared as text up to the minute.
            at[..16] < newest[..16] && at[..15] < newest[..15]
        });
        let late = late.count();
        assert!(late * 300 > lines.len(), "{late} late");
        assert!(lines.iter().all(|l| ("2026-01-12".."2026-01-20").contains(&field(l, "at"))));
    }

    #[test]
    fn attributes_differ_by_type() {
        let lines: Vec<_> = game(20_000).lines().collect();
        let types: HashSet<_> = lines.iter().map(|l| field(l, "event_type")).collect();
        assert_eq!(types.len(), 11, "{types:?}");
        let attributes = |line: &&String| line.matches("\":").count();
        let counts: HashSet<_> = lines.iter().map(|l| attributes(&l)).collect();
        assert!(counts.contains(&50) && counts.iter().any(|n| *n <= 8), "{counts:?}");
        assert!(
            lines.iter().filter(|l| field(l, "event_type") == "purchase").all(|l| l.contains("\"price\":") && l.contains("\"item_id\":"))
        );
    }

    #[test]
    fn late_events_are_of_a_past_day() {
        let game = game(1_000);
        let late: Vec<_> = game.late_lines().collect();
        assert!(!late.is_empty() && late.iter().all(|l| field(l, "at").starts_with("2026-01-13")));
        assert!(late.iter().any(|l| l.contains("\"price\":")));
    }
}
