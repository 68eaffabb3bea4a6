//! Aligned tables and numbers for people.

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::fmt::Write;
use std::time::Duration;

/// Text in rows and columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// Headings, with whether the column is aligned right.
    pub columns: Vec<(String, bool)>,
    /// One cell a column; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Grid {
    /// An empty grid; a heading that begins with `>` is aligned right.
    pub fn with(headings: &[&str]) -> Self {
        let column = |h: &&str| (h.trim_start_matches('>').to_owned(), h.starts_with('>'));
        Self { columns: headings.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(Some).collect());
    }

    /// From the Arrow IPC stream of a query's answer.
    pub fn from_ipc(body: &[u8]) -> Result<Self> {
        let reader = StreamReader::try_new(body, None).context("the answer is not an Arrow stream")?;
        let mut grid = Self { columns: headings(&reader.schema()), rows: Vec::new() };
        for batch in reader {
            grid.add(&batch.context("the answer broke off")?)?;
        }
        Ok(grid)
    }

    /// From JSON objects; the first row's members give the columns, later ones are added.
    pub fn from_json(rows: &[serde_json::Map<String, serde_json::Value>]) -> Self {
        let mut grid = Self::default();
        for name in rows.iter().flat_map(|row| row.keys()) {
            if !grid.columns.iter().any(|(n, _)| n == name) {
                let number = rows.iter().filter_map(|row| row.get(name)).all(|v| v.is_number() || v.is_null());
                grid.columns.push((name.clone(), number));
            }
        }
        grid.rows = rows.iter().map(|row| grid.columns.iter().map(|(name, _)| row.get(name).and_then(json_text)).collect()).collect();
        grid
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let options = FormatOptions::default();
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<_, _>>()?;
        for i in 0..batch.num_rows() {
            let cell =
                |(array, text): (&arrow::array::ArrayRef, &ArrayFormatter<'_>)| (!array.is_null(i)).then(|| text.value(i).to_string());
            self.rows.push(batch.columns().iter().zip(&columns).map(cell).collect());
        }
        Ok(())
    }

    /// The grid as lines: headings, a rule, rows; each cell is cut to `widest` characters.
    pub fn render(&self, indent: &str, widest: usize) -> String {
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(|c| cut(c.as_deref(), widest)).collect()).collect();
        let width = |i: usize, heading: &str| cells.iter().map(|row| chars(&row[i])).chain([chars(heading)]).max().unwrap_or(0);
        let widths: Vec<_> = self.columns.iter().enumerate().map(|(i, (h, _))| width(i, h)).collect();
        let mut out = String::new();
        let headings: Vec<_> = self.columns.iter().map(|(h, _)| h.clone()).collect();
        let rule: Vec<_> = widths.iter().map(|w| "─".repeat(*w)).collect();
        for row in [&headings, &rule].into_iter().chain(&cells) {
            self.line(indent, row, &widths, &mut out);
        }
        out
    }

    fn line(&self, indent: &str, cells: &[String], widths: &[usize], out: &mut String) {
        let mut line = indent.to_owned();
        for ((cell, width), (_, right)) in cells.iter().zip(widths).zip(&self.columns) {
            let pad = " ".repeat(width.saturating_sub(chars(cell)));
            // Writing to a string cannot fail.
            let _ = if *right { write!(line, "{pad}{cell}  ") } else { write!(line, "{cell}{pad}  ") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn headings(schema: &SchemaRef) -> Vec<(String, bool)> {
    schema.fields().iter().map(|f| (f.name().clone(), f.data_type().is_numeric())).collect()
}

fn json_text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(s) => Some(s.clone()),
        other => Some(other.to_string()),
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

/// Control characters would break the lines; a long cell ends in `…`.
fn cut(cell: Option<&str>, widest: usize) -> String {
    let text: String = cell.unwrap_or("·").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if chars(&text) <= widest { text } else { text.chars().take(widest.saturating_sub(1)).chain(['…']).collect() }
}

/// `3.1 ms`, `4.20 s`, `2 min 5 s`.
pub fn time(d: Duration) -> String {
    match d.as_secs_f64() {
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.2} s"),
        s => format!("{} min {} s", s as u64 / 60, s as u64 % 60),
    }
}

/// `1 row`, `12,345 rows`.
pub fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", indicatif::HumanCount(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_long_cells_cut() {
        let mut grid = Grid::with(&["name", ">n"]);
        grid.push(vec!["é".into(), "5".into()]);
        grid.push(vec!["a very long name".into(), "1234".into()]);
        grid.rows.push(vec![None, Some("x\ny".into())]);
        let lines: Vec<_> = grid.render(" ", 8).lines().map(str::to_owned).collect();
        assert_eq!(lines, [" name         n", " ────────  ────", " é            5", " a very …  1234", " ·          x y"]);
    }

    #[test]
    fn json_rows_give_the_union_of_their_members() {
        let rows: Vec<serde_json::Map<_, _>> = serde_json::from_str(r#"[{"a": 1}, {"a": 2, "b": {"c": null}}]"#).unwrap();
        let grid = Grid::from_json(&rows);
        assert_eq!(grid.columns, [("a".into(), true), ("b".into(), false)]);
        assert_eq!(grid.rows[0], [Some("1".into()), None]);
        assert_eq!(grid.rows[1][1].as_deref(), Some(r#"{"c":null}"#));
    }

    #[test]
    fn times_and_counts_are_short() {
        assert_eq!(time(Duration::from_micros(3_140)), "3.1 ms");
        assert_eq!(time(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!([count(1, "row"), count(12_345, "row")], ["1 row", "12,345 rows"]);
    }
}
