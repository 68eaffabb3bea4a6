//! Conditional writes and read-modify-writes as clients write them.

use super::JsonRows;
use super::change::{Change, Delete};
use super::input::Object;
use crate::rows::values::{from_json, shown};
use bytes::Bytes;
use common::conditional::{CellTest, CheckAndMutate, Modify, ModifyRule, Predicate, ReadModifyWrite, ValueTest};
use common::ids::FamilyId;
use common::row::Mutation;
use common::value::{Value, ValueType};
use common::{Error, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One of two changes of a row, as its present values decide.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The row's key parts (or `row_key`).
    key: Box<RawValue>,
    /// Values that columns must have; null: none. All of them must fit.
    #[serde(default, rename = "if")]
    condition: Option<Box<RawValue>>,
    /// Whether the row must exist.
    #[serde(default)]
    exists: Option<bool>,
    /// What to do if it fits.
    #[serde(default)]
    then: Option<Branch>,
    /// What to do if it does not.
    #[serde(default, rename = "else")]
    otherwise: Option<Branch>,
}

/// What to do with the row: deletes come first, then what is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Branch {
    #[serde(default)]
    set: Option<Box<RawValue>>,
    #[serde(default)]
    delete: Option<Delete>,
}

/// New values made of a row's newest ones.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifyRow {
    /// The row's key parts (or `row_key`).
    key: Box<RawValue>,
    /// What to add to int64 columns; no value counts as 0.
    #[serde(default)]
    increment: Option<Box<RawValue>>,
    /// What to write behind the values of string and bytes columns; no value counts as an empty one.
    #[serde(default)]
    append: Option<Box<RawValue>>,
}

impl JsonRows {
    /// The conditional write that `check` asks for.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the field, its value and what to write.
    pub fn check_and_mutate(&self, check: Check) -> Result<CheckAndMutate> {
        let key = self.key_of(&Object::parse(check.key.get())?)?;
        let mut tests = Vec::new();
        if let Some(condition) = &check.condition {
            for (name, json) in &Object::parse(condition.get())?.members {
                tests.push(self.test(name, json)?);
            }
        }
        if let Some(exists) = check.exists {
            let some = Predicate::Cell(CellTest::exists());
            tests.push(if exists { some } else { Predicate::Not(Box::new(some)) });
        }
        if tests.is_empty() {
            return Err(Error::invalid("nothing is asked: give columns and their values under 'if', or 'exists'"));
        }
        let then = self.branch(&check.key, check.then)?;
        let otherwise = self.branch(&check.key, check.otherwise)?;
        if then.is_empty() && otherwise.is_empty() {
            return Err(Error::invalid("nothing is to be done: give 'then' or 'else'"));
        }
        Ok(CheckAndMutate { key, predicate: Predicate::All(tests), then, otherwise })
    }

    fn branch(&self, key: &RawValue, branch: Option<Branch>) -> Result<Vec<Mutation>> {
        let Some(Branch { set, delete }) = branch else { return Ok(Vec::new()) };
        self.change(&Change { key: Some(key.to_owned()), set, delete }).map(|m| m.mutations)
    }

    /// That the newest cell of a column has this value; null: that it has none.
    fn test(&self, name: &str, json: &RawValue) -> Result<Predicate> {
        let (family, qualifier) = self.column_named(name)?;
        let value = match self.table.column(name) {
            Some(column) => from_json(column.ty, json).map_err(|e| Error::invalid(format!("field '{name}': {e}")))?.map(|v| v.to_cell()),
            None if json.get() == "null" => None,
            None => Some(Bytes::copy_from_slice(json.get().as_bytes())),
        };
        Ok(match value {
            Some(value) => Predicate::Cell(CellTest::newest(family, qualifier, ValueTest::equals(value))),
            None => Predicate::Not(Box::new(Predicate::Cell(CellTest::newest(family, qualifier, ValueTest::Any)))),
        })
    }

    /// The read-modify-write that `modify` asks for.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the field, its value and what to write.
    pub fn read_modify_write(&self, modify: &ModifyRow) -> Result<ReadModifyWrite> {
        let key = self.key_of(&Object::parse(modify.key.get())?)?;
        let mut rules = Vec::new();
        for (given, rule) in [(&modify.increment, Self::increment as RuleOf), (&modify.append, Self::append as RuleOf)] {
            let Some(text) = given else { continue };
            for (name, json) in &Object::parse(text.get())?.members {
                let (family, qualifier) = self.column_named(name)?;
                rules.push(rule(self, name, json, (family, qualifier))?);
            }
        }
        if rules.is_empty() {
            return Err(Error::invalid("nothing is to be done: give columns under 'increment' or 'append'"));
        }
        Ok(ReadModifyWrite { key, rules, timestamp: None })
    }

    fn increment(&self, name: &str, json: &RawValue, (family, qualifier): (FamilyId, Bytes)) -> Result<ModifyRule> {
        self.check_type(name, &[ValueType::Int64], "incremented")?;
        let by = from_json(ValueType::Int64, json).map_err(|e| Error::invalid(format!("field '{name}': {e}")))?;
        match by {
            Some(Value::Int64(by)) => Ok(ModifyRule { family, qualifier, modify: Modify::Increment(by) }),
            _ => Err(Error::invalid(format!("field '{name}': {} is no number to add", shown(json.get())))),
        }
    }

    fn append(&self, name: &str, json: &RawValue, (family, qualifier): (FamilyId, Bytes)) -> Result<ModifyRule> {
        let ty = self.check_type(name, &[ValueType::String, ValueType::Bytes], "appended to")?;
        let tail = from_json(ty, json).map_err(|e| Error::invalid(format!("field '{name}': {e}")))?;
        let tail = tail.ok_or_else(|| Error::invalid(format!("field '{name}': null cannot be appended")))?;
        Ok(ModifyRule { family, qualifier, modify: Modify::Append(tail.to_cell()) })
    }

    /// The type of a declared column, if it is one of these. Undeclared attributes are JSON texts: neither counters nor lists.
    fn check_type(&self, name: &str, allowed: &[ValueType], what: &str) -> Result<ValueType> {
        let column = self.table.column(name);
        let ty = column
            .map(|c| c.ty)
            .ok_or_else(|| Error::invalid(format!("field '{name}' is no declared column: only those can be {what}")))?;
        if allowed.contains(&ty) {
            return Ok(ty);
        }
        let names: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        Err(Error::invalid(format!("field '{name}' is {ty}: only {} columns can be {what}", names.join(" and "))))
    }
}

type RuleOf = fn(&JsonRows, &str, &RawValue, (FamilyId, Bytes)) -> Result<ModifyRule>;
