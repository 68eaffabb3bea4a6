use crate::print::{self, Grid};
use anyhow::Result;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Cells of the demo's tables are cut here, so that a row stays a line.
const WIDEST_CELL: usize = 44;

/// What the demo prints on stdout.
#[derive(Debug)]
pub struct Screen {
    colour: bool,
}

impl Screen {
    /// Colour only on a terminal, and not if `NO_COLOR` is set.
    pub fn new() -> Self {
        Self { colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// The first line.
    pub fn title(&self, text: &str) -> Result<()> {
        self.write(&format!("\n{}\n", self.style("1", &format!("Stele · {text}"))))
    }

    /// A heading.
    pub fn section(&self, name: &str) -> Result<()> {
        self.write(&format!("\n{}\n", self.style("1;36", &format!("▸ {name}"))))
    }

    /// A step that is done, and how long it took.
    pub fn done(&self, what: &str, took: Duration) -> Result<()> {
        self.write(&format!("  {what}  {}\n", self.style("2", &print::time(took))))
    }

    /// A line.
    pub fn text(&self, text: &str) -> Result<()> {
        self.write(&format!("  {text}\n"))
    }

    /// An empty line.
    pub fn blank(&self) -> Result<()> {
        self.write("\n")
    }

    /// A table under the request that gave it.
    pub fn answer(&self, request: &str, took: Duration, grid: &Grid) -> Result<()> {
        let rows = print::count(grid.rows.len() as u64, "row");
        self.write(&format!("  {}  {}\n", self.style("2", request), self.style("32", &format!("{rows} in {}", print::time(took)))))?;
        self.grid(grid)
    }

    /// A table.
    pub fn grid(&self, grid: &Grid) -> Result<()> {
        self.write(&grid.render("    ", WIDEST_CELL))
    }

    fn style(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn write(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}
