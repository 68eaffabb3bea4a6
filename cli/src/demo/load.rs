use super::Demo;
use super::memory::Memory;
use super::script::{Generator, Script};
use crate::ingest::{Batches, FileSource, Limits, Next, RowSource, Summary, Unit, Upload, set_watermark, upload};
use crate::{print, sql, table};
use anyhow::{Context, Result, bail};
use common::schema::TableSpec;
use common::time::Micros;
use game_events::{Config, Game};
use std::cell::RefCell;
use std::path::PathBuf;

/// Requests at a time: an event's row is always the same, so their order does not matter.
const PARALLEL: usize = 4;

/// Where the events come from.
pub struct Feed {
    origin: Origin,
    identity: String,
}

enum Origin {
    Game(Box<Game>),
    Files(Vec<PathBuf>, Option<usize>),
}

impl Feed {
    /// The generator's events, or those of the files.
    pub fn new(script: &Script, files: &[PathBuf], count: Option<usize>) -> Result<Self> {
        match script.events.generator {
            Some(Generator::Game) if files.is_empty() => {
                let defaults = Config::default();
                let config = Config { events: count.unwrap_or(defaults.events), ..defaults };
                Ok(Self { identity: format!("{config:?}"), origin: Origin::Game(Box::new(Game::new(&config))) })
            }
            None if files.is_empty() => {
                bail!("this example has no generator: give files with events of '{}' with --events", script.events.source)
            }
            _ => Ok(Self { identity: identity(files, count)?, origin: Origin::Files(files.to_vec(), count) }),
        }
    }

    /// Names the events.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    fn open(self, spec: &TableSpec) -> Result<(Box<dyn RowSource>, Option<u64>, Unit)> {
        match self.origin {
            Origin::Game(game) => {
                let total = game.len() as u64;
                Ok((Box::new(Generated { game, next: 0, line: String::new() }), Some(total), Unit::Lines))
            }
            Origin::Files(files, count) => {
                let source = FileSource::open(&files, None, spec, &[])?;
                let total = source.total();
                match count {
                    Some(n) => Ok((Box::new(First { source, left: n as u64, taken: 0 }), Some(n as u64), Unit::Lines)),
                    None => Ok((Box::new(source), total, Unit::Bytes)),
                }
            }
        }
    }
}

/// The files' names and sizes.
fn identity(files: &[PathBuf], count: Option<usize>) -> Result<String> {
    let one = |path: &PathBuf| {
        let bytes = std::fs::metadata(path).with_context(|| format!("cannot open '{}'", path.display()))?.len();
        anyhow::Ok(format!("{} {bytes}", path.display()))
    };
    Ok(format!("{:?} {count:?}", files.iter().map(one).collect::<Result<Vec<_>>>()?))
}

/// Brings the events into their source; those that an earlier demo has brought are passed over.
pub async fn run(demo: &Demo, feed: Feed, memory: &mut Memory) -> Result<Summary> {
    let source = &demo.script.events.source;
    let before = rows(demo).await?;
    let skip = memory.lines();
    let (rows_of, total, unit) = feed.open(&table::spec(&demo.client, source).await?)?;
    let job = Upload { table: source.clone(), parallel: PARALLEL, total, unit };
    let batches = Batches::start(rows_of, Limits { skip, ..Limits::default() });
    let shared = RefCell::new(memory);
    let summary = upload(&demo.client, &job, batches, |lines| shared.borrow_mut().set_lines(skip + lines)).await?;
    if let Some(until) = &demo.script.events.complete_until {
        let at = Micros::parse(until).map_err(|e| anyhow::anyhow!("demo.yaml: complete_until: {e}"))?;
        set_watermark(&demo.client, source, at).await?;
    }
    let after = rows(demo).await?;
    if skip > 0 {
        demo.screen.text(&format!("resumed: {} of an earlier demo are stored and not sent again", print::count(skip, "line")))?;
    }
    if summary.lines > 0 {
        demo.screen.text(&format!("{} into {source}: {}", print::count(summary.lines, "line"), summary.sentence()))?;
    }
    demo.screen.text(&format!("{source} has {} (before: {})", print::count(after, "row"), indicatif::HumanCount(before)))?;
    Ok(summary)
}

async fn rows(demo: &Demo) -> Result<u64> {
    let grid = sql::grid(&demo.client, &format!("select count(*) from {}", demo.script.events.source)).await?;
    let cell = grid.rows.first().and_then(|row| row.first()?.as_deref());
    cell.and_then(|text| text.parse().ok()).context("a count without a number")
}

/// The generator's lines.
struct Generated {
    game: Box<Game>,
    next: usize,
    line: String,
}

impl RowSource for Generated {
    fn next(&mut self, row: &mut Vec<u8>) -> Result<Next> {
        if self.next >= self.game.len() {
            return Ok(Next::End);
        }
        self.line.clear();
        self.game.write_line(self.next, &mut self.line);
        self.next += 1;
        row.extend_from_slice(self.line.trim_end().as_bytes());
        Ok(Next::Row(self.next as u64))
    }

    fn name(&self) -> &str {
        "generator"
    }

    fn position(&self) -> u64 {
        self.next as u64
    }
}

/// The first lines of files.
struct First {
    source: FileSource,
    left: u64,
    taken: u64,
}

impl RowSource for First {
    fn next(&mut self, row: &mut Vec<u8>) -> Result<Next> {
        if self.left == 0 {
            return Ok(Next::End);
        }
        self.left -= 1;
        self.taken += 1;
        self.source.next(row)
    }

    fn name(&self) -> &str {
        self.source.name()
    }

    fn position(&self) -> u64 {
        self.taken
    }
}
