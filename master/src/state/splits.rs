use common::key::KeyRange;
use common::schema::Table;
use common::{Error, Result, version};
use serde_json::Value as Json;

/// Tablets that a new table may begin with: each costs its server a memtable and a manifest. More come by splits.
const MAX_TABLETS: usize = 20_000;

/// The ranges of a new table's tablets: the key space cut at the spec's `split_at`.
///
/// # Errors
/// `InvalidArgument`, naming the prefix and the key part.
pub(super) fn ranges(table: &Table) -> Result<Vec<KeyRange>> {
    let splits = &table.spec.split_at;
    let wrong = |e: Error| e.context(format!("table '{}': split_at", table.name));
    if splits.len() >= MAX_TABLETS {
        return Err(wrong(Error::invalid(format!("{} prefixes; at most {} are allowed", splits.len(), MAX_TABLETS - 1))));
    }
    let mut keys = Vec::new();
    for split in splits {
        let key = table.key_prefix(split).map_err(|e| wrong(e.context(Json::from(split.clone()))))?;
        keys.push(bytes::Bytes::from(key));
    }
    keys.sort_unstable();
    if keys.windows(2).any(|w| w[0] == w[1]) {
        return Err(wrong(Error::invalid("a prefix is given twice")));
    }
    Ok(version::cut(&keys))
}
