//! Keys of a definition that have a meaning and no effect yet: an error, never ignored.

/// The key's fault, if it is known and not built.
pub(super) fn not_built(key: &str) -> Option<&'static str> {
    Some(match key {
        "keep" => "retention of derived tables is not built yet: leave it out",
        "memory" => "a memory limit for runs is not built yet: leave it out",
        "access" | "masking" | "exports" | "mask" => "privacy rules are not enforced yet: leave the key out and do not rely on it",
        "renamed_from" => "renaming without a rebuild is not built yet: leave it out, the table is built anew",
        "references" | "tests" => "it is not built yet: write tests below columns, as in columns: {day: {tests: [not_null]}}",
        "depends_on" => "inputs are inferred from the SQL: leave it out",
        _ => return None,
    })
}
