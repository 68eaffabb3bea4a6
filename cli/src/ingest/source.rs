use super::input::Input;
use anyhow::{Context, Result};
use common::limits::MAX_INGEST_LINE_BYTES;
use std::io::{self, BufRead};

/// What a source gives next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A row, from this line of the source, counted from 1.
    Row(u64),
    /// A line that is no row, and why.
    Bad(u64, String),
    /// Nothing more.
    End,
}

/// Where rows come from: JSON objects without a newline inside.
pub trait RowSource: Send {
    /// Appends the next row to `row`, without a newline at its end.
    fn next(&mut self, row: &mut Vec<u8>) -> Result<Next>;
    /// Of the file that the last row came from, for messages.
    fn name(&self) -> &str;
    /// How far it is, in the unit of the progress bar.
    fn position(&self) -> u64;
}

/// NDJSON lines as they are; blank ones are left out.
pub struct Lines {
    input: Input,
    line: u64,
}

impl Lines {
    /// The lines of `input`.
    pub fn new(input: Input) -> Self {
        Self { input, line: 0 }
    }
}

impl RowSource for Lines {
    fn next(&mut self, row: &mut Vec<u8>) -> Result<Next> {
        loop {
            let from = row.len();
            let read = read_line(self.input.reader(), row)
                .with_context(|| format!("cannot read '{}' after line {}", self.input.name, self.line))?;
            if read == Read::End {
                return Ok(Next::End);
            }
            self.line += 1;
            if read == Read::TooLong {
                row.truncate(from);
                return Ok(Next::Bad(self.line, format!("a line of more than {MAX_INGEST_LINE_BYTES} bytes")));
            }
            if !row[from..].iter().all(u8::is_ascii_whitespace) {
                return Ok(Next::Row(self.line));
            }
            row.truncate(from);
        }
    }

    fn name(&self) -> &str {
        &self.input.name
    }

    fn position(&self) -> u64 {
        self.input.position()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Read {
    Line,
    TooLong,
    End,
}

/// Appends a line without its end; of a line that is too long only a part, and reads over its rest.
fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<Read> {
    let from = line.len();
    let mut state = Read::End;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(state);
        }
        let end = buffer.iter().position(|&b| b == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        if line.len() - from + part.len() > MAX_INGEST_LINE_BYTES {
            state = Read::TooLong;
        } else if state != Read::TooLong {
            state = Read::Line;
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            if line.last() == Some(&b'\r') && line.len() > from {
                line.pop();
            }
            return Ok(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn lines_end_in_any_way_and_too_long_ones_are_passed_over() {
        let mut text = b"a\r\n\n".to_vec();
        text.extend(vec![b'x'; MAX_INGEST_LINE_BYTES + 1]);
        text.extend(b"\nlast");
        let mut reader = std::io::BufReader::with_capacity(1 << 16, Cursor::new(text));
        let mut seen = Vec::new();
        loop {
            let mut line = Vec::new();
            match read_line(&mut reader, &mut line).unwrap() {
                Read::Line => seen.push(String::from_utf8(line).unwrap()),
                Read::TooLong => seen.push("too long".into()),
                Read::End => break,
            }
        }
        assert_eq!(seen, ["a", "", "too long", "last"]);
    }
}
