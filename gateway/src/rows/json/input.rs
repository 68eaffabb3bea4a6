use super::{JsonRows, Role, named};
use crate::rows::documents::member;
use crate::rows::values::{BASE64, from_json, shown};
use base64::Engine;
use bytes::Bytes;
use common::ids::FamilyId;
use common::row::{Mutation, RowMutation};
use common::schema::{ROW_MARKER, Table};
use common::time::Micros;
use common::value::{Value, ValueType};
use common::{Error, Result, limits};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;

/// A JSON object as written: its members in order, their values as text.
#[derive(Debug, Default)]
pub(super) struct Object<'a> {
    pub(super) members: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        let object: Self = serde_json::from_str(text).map_err(|e| Error::invalid(format!("not a JSON object: {e}")))?;
        let mut seen = HashSet::with_capacity(object.members.len());
        match object.members.iter().find(|(name, _)| !seen.insert(name.as_str())) {
            Some((twice, _)) => Err(Error::invalid(format!("field '{twice}' is given twice"))),
            None => Ok(object),
        }
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object { members })
            }
        }
        d.deserialize_map(Members)
    }
}

/// A row under construction.
struct Typed {
    parts: Vec<Option<Value>>,
    sets: Vec<(FamilyId, Bytes, Bytes)>,
}

fn field_error(name: &str, e: impl fmt::Display) -> Error {
    Error::invalid(format!("field '{name}': {e}"))
}

impl JsonRows {
    /// The mutation that sets what is in `object`.
    pub(super) fn set(&self, object: &Object<'_>) -> Result<RowMutation> {
        if self.table.key.is_empty() {
            return self.set_raw(object);
        }
        let typed = self.typed(object)?;
        let key = self.encode_key(&typed.parts)?;
        let timestamp = self.event_time(&typed.parts);
        Ok(RowMutation { key, mutations: self.cells(typed.sets, timestamp) })
    }

    fn cells(&self, sets: Vec<(FamilyId, Bytes, Bytes)>, timestamp: Option<Micros>) -> Vec<Mutation> {
        let cell = |(family, qualifier, value)| Mutation::Set { family, qualifier, timestamp, value };
        if sets.is_empty() {
            return vec![cell((self.table.marker_family(), Bytes::from_static(ROW_MARKER), Bytes::new()))];
        }
        sets.into_iter().map(cell).collect()
    }

    fn typed(&self, object: &Object<'_>) -> Result<Typed> {
        let mut typed = Typed { parts: vec![None; self.table.key.len()], sets: Vec::with_capacity(object.members.len()) };
        let mut columns = vec![None; self.table.columns.len()];
        for (role, path) in &self.deep {
            if let Some(found) = path_value(object, path)? {
                let name = path.join(".");
                self.place(*role, &name, found, &mut typed.parts, &mut columns)?;
            }
        }
        for (name, json) in &object.members {
            match self.roles.get(name) {
                Some(&role) => self.place(role, name, json, &mut typed.parts, &mut columns)?,
                None => typed.sets.extend(self.undeclared(name, json)?),
            }
        }
        for (column, value) in self.table.columns.iter().zip(columns) {
            if let Some(value) = value {
                let cell = value.to_cell();
                check_size(&column.name, &cell)?;
                typed.sets.push((column.family, column.stored(), cell));
            }
        }
        Ok(typed)
    }

    /// Puts a value where it belongs; one that comes twice (under its name and by a path) must be the same.
    fn place(&self, role: Role, field: &str, json: &RawValue, parts: &mut [Option<Value>], columns: &mut [Option<Value>]) -> Result<()> {
        let (ty, slot) = match role {
            Role::Part(i) => (self.table.key[i].codec.ty, &mut parts[i]),
            Role::Column(i) => (self.table.columns[i].ty, &mut columns[i]),
        };
        let Some(value) = from_json(ty, json).map_err(|e| field_error(field, e))? else { return Ok(()) };
        if slot.as_ref().is_some_and(|other| *other != value) {
            let name = match role {
                Role::Part(i) => &self.table.key[i].name,
                Role::Column(i) => &self.table.columns[i].name,
            };
            return Err(field_error(field, format!("gives '{name}' another value than the one it has already")));
        }
        *slot = Some(value);
        Ok(())
    }

    fn undeclared(&self, name: &str, json: &RawValue) -> Result<Option<(FamilyId, Bytes, Bytes)>> {
        let family = self.table.undeclared.ok_or_else(|| self.unknown(name))?;
        if json.get() == "null" {
            return Ok(None);
        }
        let value = Bytes::copy_from_slice(json.get().as_bytes());
        check_size(name, &value)?;
        if name.len() > limits::MAX_QUALIFIER_BYTES {
            let (cut, most) = (shown(name), limits::MAX_QUALIFIER_BYTES);
            return Err(Error::invalid(format!("a name of {} bytes ({cut}); at most {most} are allowed", name.len())));
        }
        Ok(Some((family, named(name), value)))
    }

    /// The row key of these parts; hidden ones are null.
    fn encode_key(&self, parts: &[Option<Value>]) -> Result<Bytes> {
        for (part, value) in self.table.key.iter().zip(parts) {
            if value.is_none() && !part.codec.nullable {
                let from = self.table.spec.from.get(&part.name).map_or_else(String::new, |path| format!(" (from {path})"));
                return Err(Error::invalid(format!("key part '{}'{from} of type {} is missing", part.name, part.codec.ty)));
            }
        }
        self.table.key_schema().encode(parts)
    }

    /// What cells of a row are stamped with, where its key says when it happened: writing it again replaces them.
    fn event_time(&self, parts: &[Option<Value>]) -> Option<Micros> {
        let (at, _) = self.table.key_part(self.table.time_column.as_deref()?)?;
        match parts[at] {
            Some(Value::Timestamp(t)) => Some(t),
            Some(Value::Date(d)) => Some(Micros(i64::from(d) * 86_400_000_000)),
            _ => None,
        }
    }

    /// The row key that `object` gives, and nothing else.
    pub(super) fn key_of(&self, object: &Object<'_>) -> Result<Bytes> {
        if self.table.key.is_empty() {
            return self.raw_key(object);
        }
        let mut parts = vec![None; self.table.key.len()];
        for (name, json) in &object.members {
            match self.roles.get(name) {
                Some(&role @ Role::Part(_)) => self.place(role, name, json, &mut parts, &mut [])?,
                _ => return Err(field_error(name, format!("is no key part; a key of '{}' is {}", self.table.name, self.key_parts()))),
            }
        }
        self.encode_key(&parts)
    }

    fn key_parts(&self) -> String {
        let names: Vec<_> = self.table.key.iter().filter(|p| !p.hidden).map(|p| format!("{}: {}", p.name, p.codec.ty)).collect();
        format!("{{{}}}", names.join(", "))
    }

    fn raw_key(&self, object: &Object<'_>) -> Result<Bytes> {
        let json = object.get(Table::ROW_KEY).ok_or_else(|| {
            Error::invalid(format!(
                "'row_key' is missing: table '{}' has raw row keys, write a string or {{\"base64\": …}}",
                self.table.name
            ))
        })?;
        raw_bytes(json)
            .ok_or_else(|| field_error(Table::ROW_KEY, format!("{} is neither a string nor {{\"base64\": …}}", shown(json.get()))))
    }

    fn set_raw(&self, object: &Object<'_>) -> Result<RowMutation> {
        let key = self.raw_key(object)?;
        let mut sets = Vec::new();
        for (name, json) in object.members.iter().filter(|(name, _)| name != Table::ROW_KEY) {
            if let Some(&Role::Column(i)) = self.roles.get(name) {
                let column = &self.table.columns[i];
                sets.extend(cell(column.ty, name, json)?.map(|value| (column.family, column.stored(), value)));
            } else if let Some(family) = self.table.family(name).filter(|f| !f.hidden) {
                let columns: Object<'_> = serde_json::from_str(json.get())
                    .map_err(|_| field_error(name, "is a family: write an object of its columns, {qualifier: value}"))?;
                for (qualifier, json) in &columns.members {
                    let (id, stored) = self.table.stored_name(&family.name, qualifier.as_bytes())?;
                    let field = format!("{name}:{qualifier}");
                    sets.extend(self.family_cell(id, &stored, &field, json)?.map(|value| (id, stored.clone(), value)));
                }
            } else {
                sets.extend(self.undeclared(name, json)?);
            }
        }
        Ok(RowMutation { key, mutations: self.cells(sets, None) })
    }

    /// A cell of a family's column: typed if declared, JSON text among undeclared attributes, else bytes.
    fn family_cell(&self, family: FamilyId, stored: &Bytes, field: &str, json: &RawValue) -> Result<Option<Bytes>> {
        if let Some(column) = self.table.columns.iter().find(|c| c.family == family && c.stored() == *stored) {
            return cell(column.ty, field, json);
        }
        if Some(family) == self.table.undeclared {
            return cell(ValueType::Json, field, json);
        }
        if json.get() == "null" {
            return Ok(None);
        }
        let value = raw_bytes(json).ok_or_else(|| {
            field_error(field, format!("{} has no declared type: write a string or {{\"base64\": …}}", shown(json.get())))
        })?;
        check_size(field, &value)?;
        Ok(Some(value))
    }
}

fn cell(ty: ValueType, field: &str, json: &RawValue) -> Result<Option<Bytes>> {
    let value = from_json(ty, json).map_err(|e| field_error(field, e))?.map(|v| v.to_cell());
    value.iter().try_for_each(|v| check_size(field, v))?;
    Ok(value)
}

fn check_size(field: &str, value: &Bytes) -> Result<()> {
    let (found, most) = (value.len(), limits::MAX_CELL_BYTES);
    if found > most { Err(field_error(field, format!("a value of {found} bytes; at most {most} are allowed"))) } else { Ok(()) }
}

/// A string's UTF-8, or the bytes of `{"base64": …}`.
fn raw_bytes(json: &RawValue) -> Option<Bytes> {
    if let Ok(text) = serde_json::from_str::<String>(json.get()) {
        return Some(text.into_bytes().into());
    }
    let object: Object<'_> = serde_json::from_str(json.get()).ok()?;
    let encoded: String = serde_json::from_str(object.get("base64").filter(|_| object.members.len() == 1)?.get()).ok()?;
    BASE64.decode(encoded).ok().map(Into::into)
}

/// The value that a path of several names leads to; none if a step is missing or null.
fn path_value<'a>(object: &Object<'a>, path: &[String]) -> Result<Option<&'a RawValue>> {
    let Some((first, rest)) = path.split_first() else { return Ok(None) };
    let Some(mut found) = object.get(first).map(RawValue::get) else { return Ok(None) };
    for name in rest {
        match member(found, name) {
            Some(next) => found = next,
            None => return Ok(None),
        }
    }
    // Borrowed from the input: it is a complete JSON text.
    serde_json::from_str(found).map(Some).map_err(|e| Error::internal(format!("'{}' does not parse twice: {e}", path.join("."))))
}
