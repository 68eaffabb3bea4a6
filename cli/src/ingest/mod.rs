//! `stele ingest`: files or stdin, as rows of a table.
//!
//! A thread reads, unpacks and cuts the input into batches; batches go over REST one after the other (so that of
//! two rows with one key the later wins), or several at once where the user says that the order does not matter.
//! `input` → `source`, `csv`, `number` → `batch` → `hold`, `progress` → `upload`.

mod batch;
mod csv;
mod hold;
mod input;
mod number;
mod progress;
mod source;
mod upload;

pub use batch::{Batches, Limits};
pub use progress::Unit;
pub use source::{Next, RowSource};
pub use upload::{Summary, Upload, upload};

use crate::client::{Client, UrlArgs};
use crate::print;
use anyhow::Result;
use clap::{Args, ValueEnum};
use common::schema::TableSpec;
use common::time::Micros;
use input::Input;
use reqwest::Method;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Options of `stele ingest`.
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// dataset.name
    table: String,
    /// Files, plain or gzip; none or `-`: stdin.
    files: Vec<PathBuf>,
    /// How the rows are written [default: by file name, else ndjson].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// CSV: another text than the empty one that means null (`--null NA`).
    #[arg(long)]
    null: Vec<String>,
    /// Number the rows, over all files from 1, in this key part or column: rows that come without an id stay apart.
    #[arg(long, value_name = "COLUMN")]
    number: Option<String>,
    /// Set the table's watermark when all rows are stored: nothing older is expected.
    #[arg(long, value_parser = Micros::parse, value_name = "TIME")]
    complete_until: Option<Micros>,
    /// Rows a request.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Requests at a time. With more than one, of two rows with the same key either may win.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    parallel: u8,
    #[command(flatten)]
    url: UrlArgs,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated with a header; typed by the table's schema, empty is null.
    Csv,
}

/// Loads files; fails if any row did.
pub async fn run(args: IngestArgs) -> Result<ExitCode> {
    let client = Client::new(&args.url.url)?;
    // An unknown table is said before the first byte is read.
    let spec = crate::table::spec(&client, &args.table).await?;
    let files = FileSource::open(&args.files, args.format, &spec, &args.null)?;
    let total = files.total();
    let source: Box<dyn RowSource> = match &args.number {
        Some(name) => Box::new(number::Numbered::new(files, name, &spec)?),
        None => Box::new(files),
    };
    let limits = Limits { rows: args.batch as usize, ..Limits::default() };
    let job = Upload { table: args.table.clone(), parallel: args.parallel.into(), total, unit: Unit::Bytes };
    let summary = upload(&client, &job, Batches::start(source, limits), |_| Ok(())).await?;
    println!("{}", summary.sentence());
    if summary.failed > 0 {
        if args.complete_until.is_some() {
            eprintln!("the watermark is not set, because rows failed");
        }
        return Ok(ExitCode::FAILURE);
    }
    if let Some(at) = args.complete_until {
        set_watermark(&client, &args.table, at).await?;
        println!("{} is complete until {at}", args.table);
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells that nothing older than `at` is expected any more.
pub async fn set_watermark(client: &Client, table: &str, at: Micros) -> Result<()> {
    let body = serde_json::json!({ "at": at.to_rfc3339() });
    client.done(client.request(Method::PUT, &["tables", table, "watermark"]).json(&body)).await
}

/// The rows of files, one after the other.
pub struct FileSource {
    files: std::vec::IntoIter<(Input, Format)>,
    current: Option<Box<dyn RowSource>>,
    types: csv::Types,
    total: Option<u64>,
    /// Stored bytes of the files that are done.
    before: u64,
}

impl FileSource {
    /// Opens all files at once, so that a missing one is named before anything is sent.
    pub fn open(files: &[PathBuf], format: Option<Format>, spec: &TableSpec, nulls: &[String]) -> Result<Self> {
        let stdin = [PathBuf::from("-")];
        let files = if files.is_empty() { &stdin } else { files };
        let open = |path: &PathBuf| anyhow::Ok((Input::open(path)?, format.unwrap_or_else(|| Format::of(path))));
        let files: Vec<_> = files.iter().map(open).collect::<Result<_>>()?;
        let total = files.iter().map(|(input, _)| input.size).sum();
        Ok(Self { files: files.into_iter(), current: None, types: csv::Types::new(spec, nulls), total, before: 0 })
    }

    /// Stored bytes of all files, if known.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

impl RowSource for FileSource {
    fn next(&mut self, row: &mut Vec<u8>) -> Result<Next> {
        loop {
            if let Some(current) = &mut self.current {
                match current.next(row)? {
                    Next::End => {
                        self.before += current.position();
                        self.current = None;
                    }
                    next => return Ok(next),
                }
            }
            let Some((input, format)) = self.files.next() else { return Ok(Next::End) };
            self.current = Some(match format {
                Format::Ndjson => Box::new(source::Lines::new(input)),
                Format::Csv => Box::new(csv::Records::new(input, self.types.clone())?),
            });
        }
    }

    fn name(&self) -> &str {
        self.current.as_ref().map_or("", |c| c.name())
    }

    fn position(&self) -> u64 {
        self.before + self.current.as_ref().map_or(0, |c| c.position())
    }
}

impl Format {
    /// `x.csv` and `x.csv.gz` are CSV, everything else is NDJSON.
    fn of(path: &Path) -> Self {
        let name = path.to_string_lossy().to_lowercase();
        if name.trim_end_matches(".gz").ends_with(".csv") { Self::Csv } else { Self::Ndjson }
    }
}

impl Summary {
    /// The whole ingest in one line.
    pub fn sentence(&self) -> String {
        let seconds = self.took.as_secs_f64().max(1e-3);
        format!(
            "{} stored{} in {} ({} rows/s, {}/s)",
            print::count(self.stored, "row"),
            if self.failed > 0 { format!(", {} failed", print::count(self.failed, "row")) } else { String::new() },
            print::time(self.took),
            indicatif::HumanCount((self.stored as f64 / seconds) as u64),
            indicatif::DecimalBytes((self.bytes as f64 / seconds) as u64),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn spec(text: &str) -> TableSpec {
        serde_yaml_ng::from_str(text).unwrap()
    }

    fn rows(source: &mut FileSource) -> Vec<(u64, String)> {
        let (mut out, mut row) = (Vec::new(), Vec::new());
        loop {
            row.clear();
            match source.next(&mut row).unwrap() {
                Next::Row(line) => out.push((line, String::from_utf8(row.clone()).unwrap())),
                Next::Bad(line, why) => out.push((line, format!("bad: {why}"))),
                Next::End => return out,
            }
        }
    }

    #[test]
    fn plain_and_gzip_files_of_both_formats_follow_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, packed) = (dir.path().join("a.jsonl"), dir.path().join("b.csv.gz"));
        std::fs::write(&plain, "{\"a\":1}\n\n  {\"a\":2}").unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"a,b,c\n3,\"x\ny\",\n4,NA,1.50\n").unwrap();
        std::fs::write(&packed, gzip.finish().unwrap()).unwrap();
        let table = spec("{name: a.b, key: [a: int64], columns: {b: string}}");
        let mut source = FileSource::open(&[plain, packed], None, &table, &["NA".into()]).unwrap();
        let rows = rows(&mut source);
        assert_eq!(Some(source.position()), source.total());
        let want = [(1, r#"{"a":1}"#), (3, r#"  {"a":2}"#), (2, r#"{"a":3,"b":"x\ny"}"#), (4, r#"{"a":4,"c":1.50}"#)];
        assert_eq!(rows, want.map(|(line, row)| (line, row.to_owned())));
    }

    #[test]
    fn a_missing_file_is_named_at_once() {
        let wrong = FileSource::open(&["/no/such.csv".into()], None, &spec("{name: a.b}"), &[]).err().unwrap();
        assert!(format!("{wrong:#}").contains("/no/such.csv"));
    }

    #[test]
    fn the_name_tells_the_format() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!([of("a.CSV.gz"), of("a.jsonl.gz"), of("-")], [Format::Csv, Format::Ndjson, Format::Ndjson]);
    }
}
