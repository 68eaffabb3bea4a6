//! Figures of all rounds, their medians and ratios, and the bars they are held against.

use crate::engines::EngineName;
use crate::workloads::Workload;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A ratio may fall short of its bar by this much: what single runs on a noisy machine differ by.
const SLACK: f64 = 0.1;

/// The figures of every engine in every workload, one a round.
#[derive(Debug, Default)]
pub struct Results {
    figures: BTreeMap<(Workload, EngineName), Vec<f64>>,
    rounds: usize,
}

/// Median, least and greatest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// `None` of no figures.
    #[must_use]
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, min, max })
    }
}

/// What Stele's figure must be of a rival's.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    workload: Workload,
    rival: &'static str,
    factor: f64,
}

const fn bar(workload: Workload, rival: &'static str, factor: f64) -> Bar {
    Bar { workload, rival, factor }
}

/// At least this much of the rival's rate; at most this much of its bytes.
const BARS: [Bar; 9] = [
    bar(Workload::Durable, "rocksdb", 0.8),
    bar(Workload::Gets, "rocksdb", 0.8),
    bar(Workload::Gets, "fjall", 0.8),
    bar(Workload::Missing, "rocksdb", 0.8),
    bar(Workload::Ranges, "rocksdb", 0.8),
    bar(Workload::Scan, "rocksdb", 1.0),
    bar(Workload::Columns, "rocksdb", 5.0),
    bar(Workload::Columns, "parquet", 0.5),
    bar(Workload::Bytes, "parquet", 1.25),
];

impl Bar {
    fn of(workload: Workload, rival: EngineName) -> Option<Self> {
        let rival = rival.text();
        BARS.into_iter().find(|b| b.workload == workload && b.rival == rival)
    }

    /// Whether a median ratio reaches it, slack allowed.
    fn met(self, ratio: f64) -> bool {
        if self.workload.larger_is_better() { ratio >= self.factor * (1.0 - SLACK) } else { ratio <= self.factor * (1.0 + SLACK) }
    }

    fn text(self, ratio: f64) -> String {
        let sign = if self.workload.larger_is_better() { '≥' } else { '≤' };
        format!("{sign} {}: {}", self.factor, if self.met(ratio) { "met" } else { "MISSED" })
    }
}

impl Results {
    /// No figures yet.
    #[must_use]
    pub fn new(rounds: usize) -> Self {
        Self { figures: BTreeMap::new(), rounds }
    }

    /// The figure of one more round.
    pub fn add(&mut self, workload: Workload, engine: EngineName, figure: f64) {
        self.figures.entry((workload, engine)).or_default().push(figure);
    }

    /// Stele's figure over the rival's, round by round.
    #[must_use]
    pub fn ratio(&self, workload: Workload, rival: EngineName) -> Option<Spread> {
        let ours = self.figures.get(&(workload, EngineName::Stele))?;
        let theirs = self.figures.get(&(workload, rival))?;
        Spread::of(&ours.iter().zip(theirs).map(|(a, b)| a / b).collect::<Vec<_>>())
    }

    /// The table, in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::from("| workload | engine | median | Stele ÷ engine, median [min – max] | bar |\n|---|---|---:|---:|---|\n");
        for ((workload, engine), figures) in &self.figures {
            let Some(spread) = Spread::of(figures) else { continue };
            let ratio = self.ratio(*workload, *engine).filter(|_| *engine != EngineName::Stele);
            let bar = ratio.and_then(|r| Bar::of(*workload, *engine).map(|b| b.text(r.median))).unwrap_or_default();
            let ratio = ratio.map_or_else(String::new, |r| format!("{:.2} [{:.2} – {:.2}]", r.median, r.min, r.max));
            let (title, name, median) = (workload.title(), engine.text(), figure(spread.median));
            // A String takes whatever is written to it.
            let _ = writeln!(out, "| {title} | {name} | {median} {} | {ratio} | {bar} |", workload.unit());
        }
        let _ = writeln!(out, "\n{} rounds, engines interleaved; ratios are taken round by round.", self.rounds);
        out
    }

    /// The bars that were missed.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let of = |(workload, engine): &(Workload, EngineName)| {
            let (bar, ratio) = (Bar::of(*workload, *engine)?, self.ratio(*workload, *engine)?);
            (!bar.met(ratio.median)).then(|| format!("{} against {}: {:.2}, bar {}", workload.title(), bar.rival, ratio.median, bar.factor))
        };
        self.figures.keys().filter_map(of).collect()
    }
}

/// A figure with as many digits as mean something.
#[must_use]
pub fn figure(n: f64) -> String {
    match n {
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.0} k", n / 1e3),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n if n >= 100.0 => format!("{n:.0}"),
        n => format!("{n:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]).map(|s| s.median), Some(2.5));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_bar_is_missed_by_more_than_a_tenth_only() {
        let rate = bar(Workload::Scan, "rocksdb", 1.0);
        assert!(rate.met(0.91) && !rate.met(0.89));
        let size = bar(Workload::Bytes, "parquet", 1.25);
        assert!(size.met(1.37) && !size.met(1.38));
    }

    #[cfg(feature = "peers")]
    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut results = Results::new(3);
        for (ours, theirs) in [(100.0, 100.0), (50.0, 25.0), (30.0, 10.0)] {
            results.add(Workload::Scan, EngineName::Stele, ours);
            results.add(Workload::Scan, EngineName::Rocksdb, theirs);
        }
        let ratio = results.ratio(Workload::Scan, EngineName::Rocksdb);
        assert_eq!(ratio, Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert!(results.missed().is_empty());
        assert!(results.markdown().contains("| full scan | rocksdb | 25.00 rows/s | 2.00 [1.00 – 3.00] | ≥ 1: met |"));
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([figure(1_234_567.0), figure(12_345.0), figure(294.4), figure(1.234)], ["1.23 M", "12 k", "294", "1.23"]);
    }
}
