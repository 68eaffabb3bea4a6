//! Finds parts of a JSON document without decoding the rest of it.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The text of an object's member; the last one of equal names counts, as in Postgres.
pub(crate) fn member<'d>(document: &'d str, name: &str) -> Option<&'d str> {
    serde_json::Deserializer::from_str(document).deserialize_map(Member(name)).ok().flatten().map(RawValue::get)
}

/// The text of an array's element; negative indices count from its end.
pub(crate) fn element(document: &str, index: i64) -> Option<&str> {
    let all = elements(document)?;
    let at = if index < 0 {
        usize::try_from(index.unsigned_abs()).ok().and_then(|back| all.len().checked_sub(back))
    } else {
        usize::try_from(index).ok()
    };
    all.get(at?).copied()
}

/// The texts of an array's elements; `None` for anything else.
pub(crate) fn elements(document: &str) -> Option<Vec<&str>> {
    let all: Vec<&RawValue> = serde_json::from_str(document).ok()?;
    Some(all.into_iter().map(RawValue::get).collect())
}

/// The names of an object's members in their order; `None` for anything else.
pub(crate) fn names(document: &str) -> Option<Vec<String>> {
    serde_json::Deserializer::from_str(document).deserialize_map(Names).ok()
}

/// A document as SQL text: a string without its quotes, `null` as no value, all else as it is written.
pub(crate) fn as_text(document: &str) -> Option<Cow<'_, str>> {
    match document.as_bytes().first()? {
        b'"' => serde_json::from_str(document).ok().map(Cow::Owned),
        b'n' => None,
        _ => Some(Cow::Borrowed(document)),
    }
}

struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(same) = map.next_key_seed(Is(self.0))? {
            if same {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares a name without a copy of it.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
            names.push(name);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_text() {
        let document = r#"{"a": 1.50, "b": {"c" : [ "x", 2e3 ,null]}, "a": 1e0, "d": "q\"\u00e9"}"#;
        assert_eq!(member(document, "a"), Some("1e0"));
        let list = member(member(document, "b").unwrap(), "c").unwrap();
        assert_eq!(elements(list).unwrap(), [r#""x""#, "2e3", "null"]);
        assert_eq!((element(list, 1), element(list, -3), element(list, -4)), (Some("2e3"), Some(r#""x""#), None));
        assert_eq!(names(document).unwrap(), ["a", "b", "a", "d"]);
        assert_eq!(as_text(member(document, "d").unwrap()).unwrap(), "q\"é");
        assert_eq!(as_text("null"), None);
    }

    #[test]
    fn what_is_no_such_document_has_no_parts() {
        for bad in ["", "[1]", "7", "{", "nonsense"] {
            assert_eq!(member(bad, "a"), None, "{bad}");
            assert_eq!(names(bad), None, "{bad}");
        }
        assert_eq!(elements(r#"{"a": 1}"#), None);
        assert_eq!(element("[1, 2", 0), None);
    }
}
