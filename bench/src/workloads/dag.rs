//! A synthetic DAG of derived tables, as neutral JSON, and the project that Stele makes of it.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Tables, inputs first.
#[derive(Debug, Deserialize)]
pub struct Dag {
    /// The tables.
    pub models: Vec<Model>,
}

/// One table.
#[derive(Debug, Deserialize)]
pub struct Model {
    /// `dataset.name`.
    pub name: String,
    sql: String,
}

/// The filter of one model on its window, which Stele puts there itself.
const WINDOW: &str = "BETWEEN CAST('{{ start_ds }}' AS DATE) AND CAST('{{ end_ds }}' AS DATE)";
const SOURCE: &str = "name: raw.events\nkey: [event_id: int64, ts: timestamp]\ncolumns: {user_id: int64, kind: int64, amount: int64}\ntime_column: ts\nlateness: 1h\n";

impl Dag {
    /// From a file.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no DAG", file.display()))
    }

    /// Writes the tables as a project.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir.join("sources"))?;
        std::fs::create_dir_all(dir.join("derived"))?;
        std::fs::write(dir.join("sources/events.yaml"), SOURCE)?;
        for model in &self.models {
            std::fs::write(path(dir, model), definition(model, 0))?;
        }
        Ok(())
    }
}

/// Where a table's definition lies.
#[must_use]
pub fn path(dir: &Path, model: &Model) -> PathBuf {
    dir.join(format!("derived/{}.yaml", model.name.replace('.', "_")))
}

/// A model's definition; an edit changes a value and no type.
#[must_use]
pub fn definition(model: &Model, edit: usize) -> String {
    let sql = model.sql.replace(WINDOW, "IS NOT NULL");
    let sql = if edit == 0 { sql } else { format!("SELECT e.ds, e.k, e.c, e.v + {edit} AS v FROM (\n{sql}\n) AS e") };
    format!(
        "name: {}\nwindow: {{every: day}}\ntime_column: ds\nkey: {{partition: [k], cluster: [ds], unique: [k, ds]}}\nsql: |\n  {}\n",
        model.name,
        sql.replace('\n', "\n  ")
    )
}

/// The one in the middle; there is at least one.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
