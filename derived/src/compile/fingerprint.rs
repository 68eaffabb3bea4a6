//! What decides a table's rows, as one number.

use crate::document::{Artifact, OutputWindow, Strategy};
use common::schema::KeyPartSpec;
use common::{Error, Result};
use datafusion::logical_expr::LogicalPlan;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// All that counts besides the plan. Descriptions, tests and timing do not.
#[derive(Serialize)]
struct Settings<'a> {
    strategy: &'a Strategy,
    window: &'a Option<OutputWindow>,
    key: &'a [KeyPartSpec],
    unique: &'a [String],
    /// What is read decides the rows where the author has narrowed it.
    reaches: Vec<(&'a str, &'a crate::bounds::Reach)>,
}

/// The SHA-256 of the plan as it would run, with the types of all its columns, and of the settings.
/// Comments, layout, names of macros and columns that are not read change nothing.
pub(super) fn of(artifact: &Artifact, plan: &LogicalPlan) -> Result<String> {
    let settings = Settings {
        strategy: &artifact.strategy,
        window: &artifact.window,
        key: &artifact.spec.key,
        unique: &artifact.unique,
        reaches: artifact.inputs.iter().map(|i| (i.name.as_str(), &i.reach)).collect(),
    };
    let settings =
        serde_json::to_vec(&settings).map_err(|e| Error::internal(format!("settings of '{}' do not encode: {e}", artifact.name)))?;
    let mut hash = Sha256::new();
    hash.update(plan.display_indent_schema().to_string());
    hash.update([0]);
    hash.update(settings);
    Ok(hex::encode(hash.finalize()))
}
