//! `stele inspect`: what a stored object holds, and whether it is sound.
//!
//! It needs no server: it reads the object itself, from a file or a store.

use crate::print::{Grid, count};
use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use common::key::KeyRange;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use storage::format::{LogBody, LogName, LogRecord, Manifest, NO_SEGMENT, SstableName, SstableRef};
use storage::inspect::{self, IndexEntry, LogSegment, LogSegmentKind, Sstable};

/// Characters of a cell that are shown.
const WIDEST: usize = 48;

/// Which kind of object.
#[derive(Debug, Subcommand)]
pub enum InspectCommand {
    /// An SSTable: its properties, columns and blocks.
    Sstable(PathArgs),
    /// A version of a tablet's manifest, or a tablet's part of a named snapshot.
    Manifest(PathArgs),
    /// A segment of a log on a disk, or an object of a log in an object store.
    Log(PathArgs),
}

/// Where the object is.
#[derive(Debug, Args)]
pub struct PathArgs {
    /// A file, or s3://bucket/…/object, gs://bucket/…/object, az://container/…/object.
    path: String,
    /// Print blocks and records too, not only their number.
    #[arg(long)]
    all: bool,
}

/// Prints the object; fails if it is damaged.
pub async fn run(command: InspectCommand) -> Result<ExitCode> {
    let (InspectCommand::Sstable(args) | InspectCommand::Manifest(args) | InspectCommand::Log(args)) = &command;
    let bytes = inspect::read_object(&args.path).await?;
    let named = || format!("'{}' is damaged", args.path);
    let mut page = Page::default();
    let mut torn = None;
    match &command {
        InspectCommand::Sstable(_) => sstable(&mut page, &Sstable::read(bytes).await.with_context(named)?, args.all),
        InspectCommand::Manifest(_) => {
            let (epoch, found) = inspect::manifest(&bytes).with_context(named)?;
            manifest(&mut page, epoch, &found);
        }
        InspectCommand::Log(_) => {
            let segment = LogSegment::read(&bytes).with_context(named)?;
            log(&mut page, &segment, args.all);
            torn = segment.torn;
        }
    }
    page.print()?;
    if let Some((offset, why)) = torn {
        return Err(anyhow!("'{}' has a torn tail at offset {offset}: {why}; recovery cuts it if no segment follows", args.path));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be printed.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<16} {value}");
    }

    fn grid(&mut self, grid: &Grid) {
        if !grid.rows.is_empty() {
            self.0.push('\n');
            self.0.push_str(&grid.render("", WIDEST));
        }
    }

    fn print(self) -> std::io::Result<()> {
        std::io::stdout().write_all(self.0.as_bytes())
    }
}

fn sstable(page: &mut Page, table: &Sstable, all: bool) {
    let p = &table.properties;
    page.field("SSTable", sstable_name(&p.name));
    page.field("size", format!("{} bytes, {} before encoding", table.size, p.bytes));
    page.field("content", format!("{} of {}, {}", count(p.puts, "cell"), count(p.rows, "row"), count(p.deletes, "delete")));
    page.field("keys", span(p.keys.as_ref()));
    page.field("delete keys", span(p.delete_keys.as_ref()));
    for (range, seq) in &table.range_deletes {
        page.field("range delete", format!("{} at seq {seq}", key_range(range)));
    }
    page.field("seqs", format!("{} to {}", p.seqs.0, p.seqs.1));
    if p.timestamps.0 <= p.timestamps.1 {
        page.field("timestamps", format!("{} to {}", p.timestamps.0.0, p.timestamps.1.0));
    }
    if let Some((from, to)) = p.event_times {
        page.field("event times", format!("{} to {}", from.0, to.0));
    }
    page.field("families", p.families.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    page.field("filter", format!("{}{}", count(table.filters as u64, "partition"), if table.prefixes { ", with prefixes" } else { "" }));
    page.field("blocks", format!("{} of cells, {} of deletes", table.blocks.len(), table.delete_blocks.len()));
    let mut sections = Grid::with(&["section", ">offset", ">bytes"]);
    table.sections.iter().for_each(|(name, offset, length)| sections.push(vec![(*name).into(), offset.to_string(), length.to_string()]));
    page.grid(&sections);
    let mut columns = Grid::with(&["family", "column", "declared as", ">cells", ">bytes of values"]);
    for c in &table.columns {
        let declared = c.kind.map_or_else(String::new, |kind| format!("{kind:?}").to_lowercase());
        columns.push(vec![c.family.to_string(), text(&c.qualifier), declared, c.cells.to_string(), c.bytes.to_string()]);
    }
    page.grid(&columns);
    if !table.all_columns {
        page.0.push_str("There are more columns than the dictionary has room for.\n");
    }
    if all {
        blocks(page, table.blocks.iter().chain(&table.delete_blocks));
    }
}

fn blocks<'a>(page: &mut Page, entries: impl Iterator<Item = &'a IndexEntry>) {
    let mut blocks = Grid::with(&[">offset", ">bytes", "kind", ">rows", "first key", "seqs", "timestamps"]);
    for e in entries {
        let (t, s) = (e.bounds.timestamps, e.bounds.seqs);
        let kind = format!("{:?}{}", e.kind, if e.continues { ", goes on" } else { "" }).to_lowercase();
        let times = if t.0 <= t.1 { format!("{} to {}", t.0.0, t.1.0) } else { String::new() };
        let seqs = format!("{} to {}", s.0, s.1);
        blocks.push(vec![e.offset.to_string(), e.length.to_string(), kind, e.rows.to_string(), text(&e.first_key), seqs, times]);
    }
    page.grid(&blocks);
}

fn manifest(page: &mut Page, epoch: Option<u64>, m: &Manifest) {
    page.field("tablet", format!("{} of table {}", m.tablet, m.table));
    page.field("range", key_range(&m.range));
    let register = if epoch.is_some() { "" } else { ", of a named snapshot" };
    page.field("epoch", format!("{}, owner {}{register}", m.epoch, log_name(&m.owner)));
    let from = if m.log_from == NO_SEGMENT { "nothing of it is needed".into() } else { format!("needed from segment {}", m.log_from) };
    page.field("log", format!("{} at epoch {}, {from}", log_name(&m.log), m.log_epoch));
    page.field("flushed seq", m.flushed);
    page.field("floor", format!("{}, and {} below it", m.floor, count(m.points.len() as u64, "readable point")));
    page.field("schema version", m.schema_version);
    page.field("applied version", m.applied);
    page.field("next SSTable", m.next_sstable);
    let sets = [("live".to_owned(), &m.sstables)].into_iter().chain(m.staged.iter().map(|s| (format!("run {}", s.run), &s.sstables)));
    let headings = ["set", "SSTable", ">level", ">bytes", ">rows", ">cells", ">deletes", "seqs", "keys"];
    let mut grid = Grid::with(&headings);
    sets.for_each(|(set, sstables)| sstables.iter().for_each(|s| grid.push(sstable_row(&set, s))));
    page.grid(&grid);
}

fn sstable_row(set: &str, s: &SstableRef) -> Vec<String> {
    let numbers = [u64::from(s.level), s.size, s.rows, s.puts, s.deletes].map(|n| n.to_string());
    // An SSTable that was ingested says nothing of its seq itself.
    let seqs = s.given.map_or_else(|| format!("{} to {}", s.seqs.0, s.seqs.1), |seq| format!("{seq}, given"));
    let keys = span(s.keys.as_ref());
    [set.to_owned(), sstable_name(&s.name)].into_iter().chain(numbers).chain([seqs, keys]).collect()
}

fn log(page: &mut Page, segment: &LogSegment, all: bool) {
    let kind = match segment.kind {
        LogSegmentKind::File => "file".to_owned(),
        LogSegmentKind::Object { nonce } => format!("object, put {nonce:032x}"),
        LogSegmentKind::Fence { nonce } => format!("fence, put {nonce:032x}"),
    };
    page.field("log", log_name(&segment.log));
    page.field("segment", format!("{}: {kind}", segment.number));
    page.field("complete", if segment.ended { "yes" } else { "no: it is the newest, or was cut" });
    let records: usize = segment.groups.iter().map(|g| g.records.len()).sum();
    page.field("content", format!("{} in {}", count(records as u64, "record"), count(segment.groups.len() as u64, "group commit")));
    if !all {
        return;
    }
    let mut grid = Grid::with(&[">group at", ">tablet", ">epoch", "seqs", "record"]);
    for (group, record) in segment.groups.iter().flat_map(|g| g.records.iter().map(move |r| (g, r))) {
        let seqs = if record.last.0 == 0 { String::new() } else { format!("{} to {}", record.first, record.last) };
        grid.push(vec![group.offset.to_string(), record.tablet.to_string(), record.epoch.to_string(), seqs, what(record)]);
    }
    page.grid(&grid);
}

fn what(record: &LogRecord) -> String {
    let rows = |n: usize| count(n as u64, "row");
    match &record.body {
        LogBody::Write { rows: written, refused, .. } => format!("write of {}, {} refused", rows(written.len()), refused.len()),
        LogBody::Stage { run, part, rows: staged, .. } => format!("stage {} of run {run}, part {part}", rows(staged.len())),
        LogBody::Apply { runs } => format!("publish {}", count(runs.len() as u64, "run")),
        LogBody::DropStaged { run } => format!("drop run {run}"),
        LogBody::ClosedTablet => "closed tablet".into(),
        LogBody::Requests(list) => format!("remember {}", count(list.len() as u64, "request")),
        LogBody::Conditional { matched: None, .. } => "read-modify-write".into(),
        LogBody::Conditional { matched: Some(held), .. } => {
            format!("conditional write, its condition {}", if *held { "held" } else { "did not hold" })
        }
        LogBody::Restart => "restart".into(),
        LogBody::Ingest { sstables, .. } => {
            let rows: u64 = sstables.iter().map(|s| s.rows).sum();
            format!("ingest {} in {}", count(rows, "row"), count(sstables.len() as u64, "SSTable"))
        }
        LogBody::DeleteRange { range, .. } => format!("delete {}", key_range(range)),
    }
}

fn sstable_name(name: &SstableName) -> String {
    storage::format::names::sstable(name).to_string()
}

fn log_name(log: &LogName) -> String {
    format!("{}/{} (server/incarnation)", log.server, log.incarnation)
}

fn key_range(range: &KeyRange) -> String {
    match &range.end {
        Some(end) => format!("from '{}' to below '{}'", text(&range.start), text(end)),
        None => format!("from '{}' on", text(&range.start)),
    }
}

fn span(keys: Option<&(bytes::Bytes, bytes::Bytes)>) -> String {
    keys.map_or_else(|| "none".into(), |(first, last)| format!("'{}' to '{}'", text(first), text(last)))
}

/// Bytes as text: what is not printable ASCII as `\xNN`.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
