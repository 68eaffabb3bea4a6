//! A plan as the gateway makes it, on screen and in a file.

use super::files::Sent;
use crate::print::{self, Grid};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What applying would change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Names the definitions that it is based on.
    pub base: u64,
    environment: String,
    /// Whether anything differs.
    pub changes: bool,
    create: Vec<String>,
    tables: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seeds: Vec<SeedChange>,
    problems: Vec<String>,
}

/// What becomes of a lookup table that lies in the project.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SeedChange {
    name: String,
    /// `created`, `changed` or `unchanged`.
    status: String,
    written: u64,
    deleted: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    file: String,
    /// `added`, `breaking`, `additive`, `changed`, `metadata`, `affected`, `unchanged`, `removed`, `failed` or `blocked`.
    change: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns_added: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns_lost: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    affects: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blocked_by: Vec<String>,
    windows: u64,
    inputs: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Entry {
    /// What there is to say of it, in words.
    fn details(&self) -> String {
        let listed = |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
        let windows = (self.windows > 0).then(|| format!("{} anew", print::count(self.windows, "window")));
        let parts = [
            listed("new:", &self.columns_added),
            listed("lost or other:", &self.columns_lost),
            windows,
            listed("read by", &self.affects),
            listed("waits for", &self.blocked_by),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

impl Plan {
    /// Refuses a plan of files that are wrong, with all that is.
    pub fn check(&self) -> Result<()> {
        if self.problems.is_empty() { Ok(()) } else { bail!(self.problems.join("\n")) }
    }

    /// Whether tables that serve get another form, or are retired.
    pub fn is_grave(&self) -> bool {
        self.tables.iter().any(|t| matches!(t.change.as_str(), "breaking" | "removed"))
    }

    /// For people: what differs, one a line.
    pub fn render(&self) -> String {
        if !self.changes {
            return "nothing to do\n".into();
        }
        let mut grid = Grid::with(&["change", "table", "what"]);
        for source in &self.create {
            grid.push(vec!["created".into(), source.clone(), "source".into()]);
        }
        for seed in self.seeds.iter().filter(|s| s.status != "unchanged") {
            let rows = format!("seed: {} written, {} deleted", print::count(seed.written, "row"), seed.deleted);
            grid.push(vec![seed.status.clone(), seed.name.clone(), rows]);
        }
        for entry in self.tables.iter().filter(|t| t.change != "unchanged") {
            grid.push(vec![entry.change.clone(), entry.name.clone(), entry.details()]);
        }
        let unchanged = self.tables.iter().filter(|t| t.change == "unchanged").count();
        format!("{}{}\n", grid.render("", 160), print::count(unchanged as u64, "table") + " unchanged")
    }
}

/// A plan with the files that it was made of.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanFile {
    plan: Plan,
    sent: Sent,
}

impl PlanFile {
    /// This plan of these files.
    pub fn new(plan: &Plan, sent: &Sent) -> Self {
        Self { plan: plan.clone(), sent: sent.clone() }
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("the plan cannot be written")?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Reads it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("'{}' is not a plan: make one with `stele derived plan --out FILE`", path.display()))
    }

    /// What to send, and the plan of it.
    pub fn into_parts(self) -> (Sent, Plan) {
        (self.sent, self.plan)
    }
}
