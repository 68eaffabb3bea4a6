use anyhow::Result;
use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// What a progress bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Stored bytes of files.
    Bytes,
    /// Lines.
    Lines,
}

/// A progress bar of an upload on stderr; nothing is drawn where stderr is no terminal.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    /// Starts with `total` units, if known.
    pub fn start(total: Option<u64>, unit: Unit) -> Result<Self> {
        let amount = match unit {
            Unit::Bytes => "{decimal_bytes}/{decimal_total_bytes}",
            Unit::Lines => "{human_pos}/{human_len} lines",
        };
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), format!("  {{bar:28.cyan/dim}} {{percent:>3}}%  {amount}  {{msg}}  ETA {{eta}}")),
            None => (ProgressBar::new_spinner(), "  {spinner} {msg}  {elapsed}".to_owned()),
        };
        bar.set_style(ProgressStyle::with_template(&template)?.progress_chars("━━─"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Ok(Self { bar, began: Instant::now() })
    }

    /// Shows how far it is.
    pub fn update(&self, position: u64, rows: u64, bytes: u64) {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-3);
        let rate = |n: u64| (n as f64 / seconds) as u64;
        self.bar.set_position(position);
        self.bar.set_message(format!("{} rows  {} rows/s  {}/s", HumanCount(rows), HumanCount(rate(rows)), DecimalBytes(rate(bytes))));
    }

    /// Writes a line to stderr above the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
    pub fn finish(&self) -> Duration {
        self.bar.finish_and_clear();
        self.began.elapsed()
    }
}
