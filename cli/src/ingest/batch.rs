use super::source::{Next, RowSource};
use anyhow::Result;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Batches that wait to be sent.
const QUEUE: usize = 4;

/// When a batch is full: more rows a request means fewer round trips, and more to send again.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows.
    pub rows: usize,
    /// Bytes; a longer row is a batch by itself.
    pub bytes: usize,
    /// Rows at the beginning that are left out.
    pub skip: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 5_000, bytes: 4 << 20, skip: 0 }
    }
}

/// Rows for one request.
#[derive(Debug, Default)]
pub struct Batch {
    /// NDJSON.
    pub body: Bytes,
    /// Where each line of `body` came from: index into `names`, and line.
    pub origins: Vec<(u32, u64)>,
    /// Names of the files.
    pub names: Vec<Arc<str>>,
    /// Lines that are no rows: file, line, why.
    pub bad: Vec<(Arc<str>, u64, String)>,
    /// How far the source is after this batch.
    pub position: u64,
}

/// The batches of a source, made by a thread of its own.
pub struct Batches {
    pub(super) receiver: mpsc::Receiver<Result<Batch>>,
}

impl Batches {
    /// Starts reading.
    pub fn start(mut source: Box<dyn RowSource>, limits: Limits) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || {
            let mut reader = Cutter { source: &mut *source, limits, skip: limits.skip };
            // The receiver is gone when the upload failed: nobody waits for more.
            while let Some(batch) = reader.next().transpose() {
                if sender.blocking_send(batch).is_err() {
                    return;
                }
            }
        });
        Self { receiver }
    }
}

struct Cutter<'a> {
    source: &'a mut dyn RowSource,
    limits: Limits,
    skip: u64,
}

impl Cutter<'_> {
    /// The next batch, `None` at the end.
    fn next(&mut self) -> Result<Option<Batch>> {
        let (mut batch, mut body) = (Batch::default(), Vec::new());
        while batch.origins.len() < self.limits.rows && batch.bad.len() < self.limits.rows && body.len() < self.limits.bytes {
            let from = body.len();
            let next = self.source.next(&mut body)?;
            if next == Next::End {
                break;
            }
            if self.skip > 0 {
                self.skip -= 1;
                body.truncate(from);
                continue;
            }
            let name = self.source.name();
            match next {
                Next::Row(line) => {
                    body.push(b'\n');
                    batch.add_origin(name, line);
                }
                Next::Bad(line, why) => batch.bad.push((name.into(), line, why)),
                Next::End => break,
            }
        }
        batch.position = self.source.position();
        batch.body = body.into();
        Ok((!batch.origins.is_empty() || !batch.bad.is_empty()).then_some(batch))
    }
}

impl Batch {
    fn add_origin(&mut self, name: &str, line: u64) {
        if self.names.last().is_none_or(|n| &**n != name) {
            self.names.push(name.into());
        }
        self.origins.push((self.names.len() as u32 - 1, line));
    }

    /// Lines that this batch takes from the source.
    pub fn lines(&self) -> u64 {
        (self.origins.len() + self.bad.len()) as u64
    }

    /// Where line `line` of the body, counted from 1, came from.
    pub fn origin(&self, line: u64) -> String {
        let found = usize::try_from(line).ok().and_then(|line| self.origins.get(line.checked_sub(1)?));
        found.map_or_else(|| format!("line {line} of the request"), |(name, line)| format!("{}:{line}", self.names[*name as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers(u64);

    impl RowSource for Numbers {
        fn next(&mut self, row: &mut Vec<u8>) -> Result<Next> {
            self.0 += 1;
            Ok(match self.0 {
                8.. => Next::End,
                3 => Next::Bad(3, "three".into()),
                n => {
                    row.extend(n.to_string().bytes());
                    Next::Row(n)
                }
            })
        }

        fn name(&self) -> &str {
            if self.0 < 5 { "a" } else { "b" }
        }

        fn position(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn batches_know_where_their_lines_came_from() {
        let mut source = Numbers(0);
        let mut cutter = Cutter { source: &mut source, limits: Limits { rows: 4, bytes: 100, skip: 1 }, skip: 1 };
        let first = cutter.next().unwrap().unwrap();
        assert_eq!(first.body, "2\n4\n5\n6\n");
        assert_eq!([first.origin(1), first.origin(3), first.origin(9)], ["a:2", "b:5", "line 9 of the request"]);
        assert_eq!((first.bad[0].1, first.lines()), (3, 5));
        assert_eq!(cutter.next().unwrap().unwrap().body, "7\n");
        assert!(cutter.next().unwrap().is_none());
    }
}
