//! The test `unique`, held for the rows that a run changes: among each other, and against all that it leaves as they are.

use super::base::Base;
use super::difference::{Difference, key_text};
use bytes::Bytes;
use common::row::{Mutation, RowMutation};
use common::schema::Table;
use common::{Error, Result};
use derived::row_test::RowTest;
use futures::TryStreamExt;
use std::collections::{HashMap, HashSet};

/// Holds the tests of a definition that compare rows with each other.
///
/// # Errors
/// `InvalidArgument`, naming the test and the keys of two rows that have one value.
pub async fn check(base: &Base<'_>, tests: &[RowTest], found: &Difference) -> Result<()> {
    for test in tests {
        if let RowTest::Unique { column } = test {
            one(base, test, column, &found.mutations).await?;
        }
    }
    Ok(())
}

async fn one(base: &Base<'_>, test: &RowTest, column: &str, changes: &[RowMutation]) -> Result<()> {
    let mut taken: HashMap<Bytes, &Bytes> = HashMap::new();
    for row in changes {
        let Some(value) = changed(base.table, column, row)? else { continue };
        if let Some(other) = taken.insert(value, &row.key) {
            return Err(twice(base.table, test, &row.key, other));
        }
    }
    if taken.is_empty() {
        return Ok(());
    }
    let touched: HashSet<&Bytes> = changes.iter().map(|row| &row.key).collect();
    let Some(declared) = base.table.column(column) else { return in_key(base, test, column, &taken, &touched).await };
    let mut rows = base.column(declared);
    while let Some(batch) = rows.try_next().await? {
        for row in batch.iter().filter(|row| !touched.contains(&row.key)) {
            let value = row.cells.iter().find(|c| c.family == declared.family && c.qualifier == declared.stored()).map(|c| &c.value);
            if let Some(other) = value.and_then(|v| taken.get(v)) {
                return Err(twice(base.table, test, &row.key, other));
            }
        }
    }
    Ok(())
}

/// The same for a part of the key.
async fn in_key(base: &Base<'_>, test: &RowTest, column: &str, taken: &HashMap<Bytes, &Bytes>, touched: &HashSet<&Bytes>) -> Result<()> {
    let mut rows = base.rows(None);
    while let Some(batch) = rows.try_next().await? {
        for row in batch.iter().filter(|row| !touched.contains(&row.key)) {
            if let Some(other) = part(base.table, column, &row.key)?.and_then(|v| taken.get(&v)) {
                return Err(twice(base.table, test, &row.key, other));
            }
        }
    }
    Ok(())
}

/// The value of a column that a change gives its row, encoded.
fn changed(table: &Table, column: &str, row: &RowMutation) -> Result<Option<Bytes>> {
    let is_there = row.mutations.iter().any(|m| matches!(m, Mutation::Set { .. }));
    let Some(declared) = table.column(column) else { return if is_there { part(table, column, &row.key) } else { Ok(None) } };
    Ok(row.mutations.iter().find_map(|m| match m {
        Mutation::Set { family, qualifier, value, .. } if *family == declared.family && *qualifier == declared.stored() => {
            Some(value.clone())
        }
        _ => None,
    }))
}

fn part(table: &Table, column: &str, key: &[u8]) -> Result<Option<Bytes>> {
    let Some((at, _)) = table.key_part(column) else { return Ok(None) };
    let values = table.key_schema().decode(key)?;
    Ok(values.into_iter().nth(at).flatten().map(|value| value.to_cell()))
}

fn twice(table: &Table, test: &RowTest, a: &[u8], b: &[u8]) -> Error {
    Error::invalid(format!(
        "table '{}': test '{test}' does not hold: the rows ({}) and ({}) have the same value",
        table.name,
        key_text(table, a),
        key_text(table, b)
    ))
}
