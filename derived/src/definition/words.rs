//! Forms that several files share: one or more, and columns as a map or a list.

use common::schema::DATA_FAMILY;
use common::value::ValueType;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// One map, or a list of them.
pub(super) fn one_or_more<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<Vec<T>, D::Error> {
    struct OneOrMore<T>(PhantomData<T>);
    impl<'de, T: DeserializeOwned> Visitor<'de> for OneOrMore<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map, or a list of maps")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            Ok(vec![T::deserialize(MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
    }
    d.deserialize_any(OneOrMore(PhantomData))
}

pub(super) fn one_or_more_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let one = generator.subschema_for::<T>();
    json_schema!({ "oneOf": [one, { "type": "array", "items": one }] })
}

/// What is said of a column in `sources/` and `seeds/`: its type alone, or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnWords {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Option<ValueType>,
    /// For people.
    pub description: Option<String>,
    /// Privacy tags.
    pub tags: Vec<String>,
    /// Its family.
    pub family: String,
    /// Its qualifier for clients of the Bigtable API.
    pub qualifier: Option<String>,
}

/// [`ColumnWords`] without its name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ColumnBody {
    /// Its name, in a list of columns.
    name: Option<String>,
    /// Its type; none for a part of the key, which has its own.
    #[serde(rename = "type")]
    ty: Option<ValueType>,
    /// For people.
    description: Option<String>,
    /// Privacy tags: what is made of the column hands them on.
    #[serde(default)]
    tags: Vec<String>,
    /// Its family; default `data`.
    family: Option<String>,
    /// Its qualifier for clients of the Bigtable API; default its name.
    qualifier: Option<String>,
}

impl ColumnBody {
    fn named<E: de::Error>(self, name: Option<String>) -> Result<ColumnWords, E> {
        let Self { name: own, ty, description, tags, family, qualifier } = self;
        let name = match (name, own) {
            (Some(name), None) | (None, Some(name)) => name,
            (Some(name), Some(_)) => return Err(E::custom(format!("column '{name}' is named twice: leave `name` out"))),
            (None, None) => return Err(E::custom("a column of a list needs a name")),
        };
        Ok(ColumnWords { name, ty, description, tags, family: family.unwrap_or_else(|| DATA_FAMILY.into()), qualifier })
    }
}

/// A type, or a map.
struct TypeOrBody(ColumnBody);

impl<'de> Deserialize<'de> for TypeOrBody {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Body;
        impl<'de> Visitor<'de> for Body {
            type Value = TypeOrBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type, or a map of type, description, tags, family and qualifier")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TypeOrBody, E> {
                let ty = ValueType::parse(text).map_err(|e| E::custom(e.message))?;
                Ok(TypeOrBody(ColumnBody { ty: Some(ty), ..ColumnBody::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TypeOrBody, A::Error> {
                ColumnBody::deserialize(MapAccessDeserializer::new(map)).map(TypeOrBody)
            }
        }
        d.deserialize_any(Body)
    }
}

/// A map of name to type or map, or a list of maps with names.
pub(super) fn columns<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<ColumnWords>, D::Error> {
    struct Columns;
    impl<'de> Visitor<'de> for Columns {
        type Value = Vec<ColumnWords>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of column name to type, or to a map, or a list of maps with names")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut out = Vec::new();
            while let Some(body) = seq.next_element::<ColumnBody>()? {
                out.push(body.named(None)?);
            }
            Ok(out)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut out = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                out.push(map.next_value::<TypeOrBody>()?.0.named(Some(name))?);
            }
            Ok(out)
        }
    }
    d.deserialize_any(Columns)
}

pub(super) fn columns_schema(generator: &mut SchemaGenerator) -> Schema {
    let (ty, body) = (generator.subschema_for::<ValueType>(), generator.subschema_for::<ColumnBody>());
    json_schema!({
        "oneOf": [
            { "type": "object", "additionalProperties": { "oneOf": [ty, body] } },
            { "type": "array", "items": body }
        ]
    })
}
