//! Who plays when: compact events, before any text is made.

use crate::Config;
use crate::random::{Random, Zipf};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SessionStart,
    LevelStart,
    LevelComplete,
    LevelFail,
    Purchase,
    ItemUsed,
    Chat,
    AdView,
    Crash,
    DeviceReport,
    SessionEnd,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Number of the event; a repeat has the same.
    pub id: u32,
    pub late: bool,
    pub player: u32,
    pub session: u32,
    pub kind: Kind,
    pub level: u32,
    /// Milliseconds since the week's start, 2026-01-12.
    pub at: u32,
    /// When the line comes, on the same scale.
    arrives: u32,
}

pub const SECOND: u32 = 1_000;
pub const MINUTE: u32 = 60 * SECOND;
pub const HOUR: u32 = 60 * MINUTE;
pub const DAY: u32 = 24 * HOUR;

/// Share of the events by day, Monday to Sunday, in percent.
const DAYS: [u32; 7] = [5, 5, 5, 70, 5, 5, 5];
const HEAVY_DAY: u32 = 3;
/// Share of the sessions by hour.
const HOURS: [u32; 24] = [3, 2, 1, 1, 1, 2, 4, 6, 7, 6, 5, 6, 8, 7, 6, 6, 7, 9, 11, 13, 14, 12, 8, 5];

/// All lines of the week in order of arrival.
pub fn week(config: &Config) -> Vec<Event> {
    let mut planner = Planner::new(config);
    let mut planned = 0;
    for (day, share) in DAYS.into_iter().enumerate() {
        planned += share as usize;
        planner.fill_day(day as u32, config.events * planned / 100);
    }
    planner.repeat_some();
    let mut events = planner.events;
    events.sort_by_key(|e| (e.arrives, e.id));
    events
}

/// A few sessions of two players on the second day, with purchases.
pub fn late(config: &Config) -> Vec<Event> {
    let mut planner = Planner::new(config);
    planner.random = Random::of(config.seed, 4, 0);
    for session in 0..6 {
        let (player, at) = (session % 2, DAY + (9 + session) * HOUR);
        planner.session(player, at, 20, usize::MAX);
        let last = planner.events.last().map_or(at, |e| e.at);
        planner.push(player, Kind::Purchase, last + 7 * SECOND);
    }
    for event in &mut planner.events {
        event.late = true;
    }
    planner.events
}

struct Planner {
    seed: u64,
    random: Random,
    zipf: Zipf,
    /// Each player's level.
    levels: Vec<u32>,
    sessions: u32,
    events: Vec<Event>,
}

impl Planner {
    fn new(config: &Config) -> Self {
        let players = config.players.max(1);
        Self {
            seed: config.seed,
            random: Random::of(config.seed, 1, 0),
            zipf: Zipf::new(players),
            levels: vec![1; players as usize],
            sessions: 0,
            events: Vec::with_capacity(config.events + config.events / 100),
        }
    }

    /// Plays sessions on `day` until there are `until` events.
    fn fill_day(&mut self, day: u32, until: usize) {
        while self.events.len() < until {
            let player = self.zipf.draw(&mut self.random);
            if !self.plays_on(player, day) {
                continue;
            }
            let at = day * DAY + self.time_of_day(day);
            let length = self.session_length();
            self.session(player, at, length, until);
        }
    }

    /// Players join on some day (two in five on the first) and half of them stop some days later.
    fn plays_on(&self, player: u32, day: u32) -> bool {
        let mut traits = Random::of(self.seed, 2, u64::from(player));
        let joins = traits.weighted(&[40, 10, 10, 20, 8, 6, 6]) as u32;
        let stays = if traits.per_mille(500) { traits.between(1, 6) } else { 7 };
        (joins..joins + stays).contains(&day)
    }

    fn time_of_day(&mut self, day: u32) -> u32 {
        if day == HEAVY_DAY && self.random.per_mille(80) {
            // A push message at 12:30.
            return 12 * HOUR + 30 * MINUTE + self.random.below(5 * MINUTE);
        }
        if day == HEAVY_DAY && self.random.per_mille(130) {
            // A tournament at 20:00.
            return 20 * HOUR + self.random.below(10 * MINUTE);
        }
        self.random.weighted(&HOURS) as u32 * HOUR + self.random.below(HOUR)
    }

    /// Some 14 events, seldom more than 60.
    fn session_length(&mut self) -> usize {
        let mut length = 3;
        while length < 80 && self.random.per_mille(915) {
            length += 1;
        }
        length
    }

    fn session(&mut self, player: u32, start: u32, length: usize, until: usize) {
        self.sessions += 1;
        let (mut at, mut in_level) = (start, false);
        for n in 0..length {
            if self.events.len() >= until {
                return;
            }
            let kind = match n {
                0 => Kind::SessionStart,
                n if n + 1 == length => Kind::SessionEnd,
                _ => self.next_kind(in_level),
            };
            match kind {
                Kind::LevelStart => in_level = true,
                Kind::LevelComplete => {
                    in_level = false;
                    self.levels[player as usize] += 1;
                }
                Kind::LevelFail => in_level = false,
                _ => {}
            }
            self.push(player, kind, at);
            at += self.random.between(2 * SECOND, 75 * SECOND);
        }
    }

    fn next_kind(&mut self, in_level: bool) -> Kind {
        use Kind::{AdView, Chat, Crash, DeviceReport, ItemUsed, LevelComplete, LevelFail, LevelStart, Purchase};
        let other = [(ItemUsed, 220), (Chat, 120), (AdView, 110), (Purchase, 35), (DeviceReport, 12), (Crash, 6)];
        if self.random.per_mille(550) {
            return match (in_level, self.random.per_mille(650)) {
                (false, _) => LevelStart,
                (true, true) => LevelComplete,
                (true, false) => LevelFail,
            };
        }
        other[self.random.weighted(&other.map(|(_, weight)| weight))].0
    }

    fn push(&mut self, player: u32, kind: Kind, at: u32) {
        let delay = match self.random.per_mille(10) {
            true => self.random.between(2 * MINUTE, 6 * HOUR),
            false => self.random.below(1_500),
        };
        self.events.push(Event {
            id: self.events.len() as u32,
            late: false,
            player,
            session: self.sessions,
            kind,
            level: self.levels[player as usize],
            at,
            arrives: at + delay,
        });
    }

    /// A client that got no answer sends again.
    fn repeat_some(&mut self) {
        for i in 0..self.events.len() {
            if self.random.per_mille(5) {
                let again = self.random.between(SECOND, 10 * MINUTE);
                let event = self.events[i];
                self.events.push(Event { arrives: event.arrives + again, ..event });
            }
        }
    }
}
