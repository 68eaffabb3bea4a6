//! The format of a project's files as JSON Schema, for editors. It follows the types that read them.

use super::{Definition, SeedWords, SourceWords};
use crate::unit_test::TestWords;
use schemars::schema_for;
use serde_json::Value;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `derived/*.yaml`.
    Definition,
    /// `sources/*.yaml`.
    Source,
    /// `seeds/*.yaml`.
    Seed,
    /// `tests/*.yaml`.
    Test,
}

/// The JSON Schema of a kind of file.
#[must_use]
pub fn json_schema(format: Format) -> Value {
    match format {
        Format::Definition => schema_for!(Definition),
        Format::Source => schema_for!(SourceWords),
        Format::Seed => schema_for!(SeedWords),
        Format::Test => schema_for!(TestWords),
    }
    .to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_refuse_unknown_keys_and_describe_the_known_ones() {
        for format in [Format::Definition, Format::Source, Format::Seed, Format::Test] {
            let schema = json_schema(format);
            assert_eq!(schema["additionalProperties"], Value::Bool(false), "{format:?}");
            let properties = schema["properties"].as_object().unwrap();
            assert!(properties.len() > 4, "{format:?}");
            for (name, property) in properties {
                let described = property.get("description").is_some() || property.get("$ref").is_some();
                assert!(described, "{format:?}: {name} has no description: {property}");
            }
        }
    }
}
