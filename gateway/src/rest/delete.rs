use super::App;
use super::extract::Params;
use super::problem::{Problem, Refused};
use super::query::RowQuery;
use crate::rows::json::JsonRows;
use axum::extract::{Path, State};
use common::{Error, Result};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Parameters of a read that say nothing of which rows it reads.
const NOT_RANGES: [&str; 7] = ["columns", "limit", "page_token", "order", "cells", "cells_from", "cells_to"];

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// Parts that the rows' range had by tablets. Each was deleted at once.
    parts: usize,
}

/// Delete all rows of a key range.
///
/// Give the leading key parts by name; `prefix`, or `from` and `to`, bound the next one. The cost does not depend on the number
/// of rows. Rows of one tablet go together, those of different tablets one after the other: an error may come after some of
/// them, and the same request again deletes the others, and what was written into the range meanwhile.
#[utoipa::path(delete, path = "/v1/tables/{table}/rows", tag = "rows",
    params(("table", Path, description = "`dataset.name`"),
        ("from" = Option<String>, Query, description = "first value of the next key part"),
        ("to" = Option<String>, Query, description = "first value that is not deleted any more"),
        ("prefix" = Option<String>, Query, description = "how the next key part, a string, begins")),
    responses((status = 200, body = Deleted), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "a derived or an append-only table"), (status = 429, body = Problem),
        (status = 503, body = Problem)))]
pub async fn range(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params) -> Result<axum::Json<Deleted>, Refused> {
    let rows = JsonRows::new(app.cluster.writable(&name)?);
    let query = query(&rows, &params.0)?;
    let parts = app.cluster.delete(rows.table(), query.spec.ranges).await?;
    Ok(axum::Json(Deleted { parts }))
}

/// The rows that parameters name by their keys alone.
fn query(rows: &JsonRows, params: &[(String, String)]) -> Result<RowQuery> {
    if let Some(option) = NOT_RANGES.iter().find(|option| params.iter().any(|(name, _)| name == *option)) {
        return Err(Error::invalid(format!("'{option}' does not go with a delete: name rows by key parts, 'prefix', 'from' and 'to'")));
    }
    if params.is_empty() {
        return Err(Error::invalid("this would delete all rows: name key parts, 'prefix', 'from' or 'to', or drop the table"));
    }
    let query = RowQuery::parse(rows, params)?;
    if query.filters() {
        return Err(Error::invalid("'from' and 'to' are of a time that the key does not begin with here: give the key parts before it"));
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::TableId;
    use common::schema::{Table, TableKind};

    fn parsed(params: &[(&str, &str)]) -> Result<usize> {
        let spec = serde_json::json!({ "name": "raw.e", "key": [{ "user": "string" }, { "at": "timestamp" }], "time_column": "at" });
        let table = Table::create(TableId(1), TableKind::Raw, serde_json::from_value(spec).unwrap()).unwrap();
        let params: Vec<_> = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        query(&JsonRows::new(Arc::new(table)), &params).map(|q| q.spec.ranges.len())
    }

    #[test]
    fn only_ranges_of_keys_are_deleted() {
        assert_eq!(parsed(&[("user", "u1"), ("from", "2026-01-01"), ("to", "2026-02-01")]), Ok(1));
        assert_eq!(parsed(&[("prefix", "u")]), Ok(1));
        for (wrong, why) in [
            (&[][..], "all rows"),
            (&[("user", "u1"), ("limit", "3")], "'limit' does not go"),
            (&[("from", "2026-01-01")], "the key parts before it"),
            (&[("usr", "u1")], "usr"),
        ] {
            let e = parsed(wrong).unwrap_err();
            assert!(e.message.contains(why), "{wrong:?}: {e}");
        }
    }
}
