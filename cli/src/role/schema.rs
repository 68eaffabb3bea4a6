//! The settings of a role as data, read from the one definition in [`common::config`].

use common::config::{GatewayConfig, MasterConfig, TabletServerConfig};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The configuration of a role.
pub trait RoleConfig: Clone + Send + Sync + std::fmt::Debug + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// How people call the role.
    const ROLE: &'static str;
}

impl RoleConfig for MasterConfig {
    const ROLE: &'static str = "master";
}

impl RoleConfig for TabletServerConfig {
    const ROLE: &'static str = "tablet server";
}

impl RoleConfig for GatewayConfig {
    const ROLE: &'static str = "gateway";
}

/// What a setting takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Switch,
    /// Several texts.
    List,
    /// One of these.
    Choice(Vec<String>),
}

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// As in a file.
    pub name: String,
    /// What it is.
    pub doc: String,
    pub kind: Kind,
    /// What it is if nobody says; `None` if somebody must, or if the text says it.
    pub default: Option<Value>,
    /// What it might be.
    pub example: Option<Value>,
    pub required: bool,
}

impl Field {
    /// Its option on the command line, without dashes in front.
    pub fn option(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("STELE_{}", self.name.to_uppercase())
    }
}

/// The JSON schema of a role's settings.
pub fn schema<T: RoleConfig>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// All settings of a role, in the order of their definition.
pub fn fields<T: RoleConfig>() -> Vec<Field> {
    let schema = schema::<T>();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, property): (&String, &Value)| Field {
        name: name.clone(),
        doc: text(&property["description"]),
        kind: kind(&schema, property),
        default: property.get("default").filter(|d| !d.is_null()).cloned(),
        example: property["examples"].get(0).cloned(),
        required: required.contains(&Value::from(name.as_str())),
    };
    properties.map(field).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kind(schema: &Value, property: &Value) -> Kind {
    let target = property["$ref"].as_str().and_then(|to| schema.pointer(to.strip_prefix('#')?)).unwrap_or(property);
    if let Some(choices) = target["oneOf"].as_array() {
        return Kind::Choice(choices.iter().filter_map(|c| Some(c["const"].as_str()?.to_owned())).collect());
    }
    // An optional setting has two types; the other one is null.
    let is = |kind: &str| target["type"] == kind || target["type"].as_array().is_some_and(|all| all.iter().any(|t| t == kind));
    match () {
        () if is("integer") => Kind::Number,
        () if is("boolean") => Kind::Switch,
        () if is("array") => Kind::List,
        () => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described_and_of_a_known_kind() {
        for fields in [fields::<MasterConfig>(), fields::<TabletServerConfig>(), fields::<GatewayConfig>()] {
            for field in &fields {
                assert!(field.doc.len() > 10, "{field:?}");
                assert!(field.default.is_some() || field.example.is_some(), "{field:?}");
            }
        }
        let server = fields::<TabletServerConfig>();
        let kind = |name: &str| server.iter().find(|f| f.name == name).unwrap().kind.clone();
        assert_eq!(kind("log"), Kind::Choice(vec!["object".into(), "disk".into()]));
        assert_eq!([kind("disk_cache_bytes"), kind("masters"), kind("store")], [Kind::Number, Kind::List, Kind::Text]);
        assert_eq!(server.iter().filter(|f| f.required).count(), 3);
    }
}
