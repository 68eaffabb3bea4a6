use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How far a demo came on this folder. Losing it costs time, not data: the events would be sent again, and
/// the same events are the same rows.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    known: Known,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    /// Names the events; others begin anew.
    events: String,
    /// Lines that are stored.
    lines: u64,
    /// Whether the late events were sent.
    late: bool,
}

impl Memory {
    /// What is remembered of `project` on `dir` for these events.
    pub fn open(dir: &Path, project: &str, events: &str) -> Result<Self> {
        let name: String = project.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let path = dir.join(format!("demo-{name}.json"));
        let read = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Known>(&text).ok());
        let known = read.filter(|k| k.events == events).unwrap_or_else(|| Known { events: events.to_owned(), ..Known::default() });
        let memory = Self { path, known };
        memory.save()?;
        Ok(memory)
    }

    /// Lines that are stored.
    pub fn lines(&self) -> u64 {
        self.known.lines
    }

    /// Remembers that the first `lines` lines are stored.
    pub fn set_lines(&mut self, lines: u64) -> Result<()> {
        self.known.lines = lines;
        self.save()
    }

    /// Whether the late events were sent.
    pub fn late(&self) -> bool {
        self.known.late
    }

    /// Remembers that the late events were sent.
    pub fn set_late(&mut self) -> Result<()> {
        self.known.late = true;
        self.save()
    }

    fn save(&self) -> Result<()> {
        let place = || format!("cannot write '{}'", self.path.display());
        // A reader never sees half a file: what a kill leaves behind is the old one or the new one.
        let next = self.path.with_extension("json.next");
        std::fs::write(&next, serde_json::to_vec(&self.known)?).with_context(place)?;
        std::fs::rename(&next, &self.path).with_context(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_events_go_on_and_others_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), "game", "a").unwrap();
        memory.set_lines(7).unwrap();
        memory.set_late().unwrap();
        let again = Memory::open(dir.path(), "game", "a").unwrap();
        assert_eq!((again.lines(), again.late()), (7, true));
        let other = Memory::open(dir.path(), "game", "b").unwrap();
        assert_eq!((other.lines(), other.late()), (0, false));
    }
}
