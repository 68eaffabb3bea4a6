//! `seeds/*.csv`: lookup tables that lie in the project, with a YAML file of the same name beside them if there is more to say.

use super::ColumnNote;
use super::source::notes;
use super::words::{self, ColumnWords};
use crate::problem::Problem;
use crate::yaml;
use common::schema::{ColumnSpec, DATA_FAMILY, KeyPartSpec, TableSpec};
use common::time::Micros;
use common::value::ValueType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The dataset of seeds whose files do not name one.
const DATASET: &str = "seeds";

/// A file of `seeds/` that ends in `.yaml`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Seed")]
pub struct SeedWords {
    /// `dataset.name`; default: `seeds.` and the file's name, or the file's name if it is `dataset.name.csv`.
    name: Option<String>,
    /// For people.
    description: Option<String>,
    /// For people: who answers for it.
    owner: Option<String>,
    /// For people: labels.
    #[serde(default)]
    tags: Vec<String>,
    /// The columns that make a row one; default: the first column.
    #[serde(default)]
    key: Vec<String>,
    /// Types of columns, `{code: string}` or `{code: {type: string, description: …, tags: […]}}`; of others the type that fits all their values.
    #[serde(default, deserialize_with = "words::columns")]
    #[schemars(schema_with = "words::columns_schema")]
    columns: Vec<ColumnWords>,
}

/// A lookup table of the project.
#[derive(Clone, Debug, PartialEq)]
pub struct Seed {
    /// Its CSV file, relative to the project.
    pub file: String,
    /// The table.
    pub spec: TableSpec,
    /// For people: who answers for it.
    pub owner: Option<String>,
    /// For people: labels.
    pub tags: Vec<String>,
    /// What is said of columns.
    pub notes: BTreeMap<String, ColumnNote>,
    /// Its rows as JSON objects, as they are written to the table; an empty cell is left out.
    pub rows: Vec<serde_json::Map<String, Value>>,
}

impl Seed {
    /// Reads a CSV file with a heading, and the YAML file beside it.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn parse(file: &str, text: &str, beside: Option<(&str, &str)>) -> Result<Self, Problem> {
        let words: SeedWords = beside.map(|(path, text)| yaml::read(path, text)).transpose()?.unwrap_or_default();
        let said = |key: &str, message: String| match beside {
            Some((path, text)) => Problem::at_key(path, text, key, message),
            None => Problem::in_file(file, message),
        };
        let sheet = Sheet::read(file, text)?;
        for name in words.columns.iter().map(|c| &c.name).chain(&words.key) {
            if !sheet.columns.contains(name) {
                let key = if words.key.contains(name) { "key" } else { "columns" };
                return Err(said(key, format!("{key}: '{file}' has no column '{name}': it has {}", sheet.columns.join(", "))));
            }
        }
        let key = if words.key.is_empty() { vec![sheet.columns[0].clone()] } else { words.key.clone() };
        let types = sheet.types(&words.columns);
        let name = words.name.clone().unwrap_or_else(|| default_name(file));
        let spec = spec(name, &words, &sheet.columns, &key, &types);
        spec.check().map_err(|e| said("name", e.message))?;
        let rows = sheet.rows(file, &types, &key)?;
        Ok(Self { file: file.into(), spec, owner: words.owner, tags: words.tags, notes: notes(&words.columns), rows })
    }
}

/// `seeds/countries.csv`: `seeds.countries`; `seeds/core.countries.csv`: `core.countries`.
fn default_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    let stem = name.strip_suffix(".csv").unwrap_or(name);
    if stem.contains('.') { stem.to_owned() } else { format!("{DATASET}.{stem}") }
}

fn spec(name: String, words: &SeedWords, columns: &[String], key: &[String], types: &[ValueType]) -> TableSpec {
    let ty = |name: &String| columns.iter().position(|c| c == name).map_or(ValueType::String, |at| types[at]);
    let part = |name: &String| KeyPartSpec { name: name.clone(), ty: ty(name), descending: false, nullable: false, hidden: false };
    let column = |name: &String| ColumnSpec { name: name.clone(), ty: ty(name), family: DATA_FAMILY.into(), qualifier: None };
    TableSpec {
        description: words.description.clone(),
        key: key.iter().map(part).collect(),
        columns: columns.iter().filter(|c| !key.contains(c)).map(column).collect(),
        undeclared: Some("none".into()),
        ..TableSpec::named(name)
    }
}

/// A CSV file as text.
struct Sheet {
    columns: Vec<String>,
    /// Each with its line.
    records: Vec<(usize, Vec<String>)>,
}

impl Sheet {
    fn read(file: &str, text: &str) -> Result<Self, Problem> {
        let at = |line: usize, message: String| Problem { file: file.into(), line, column: 0, message };
        let wrong = |e: &csv::Error| at(e.position().map_or(0, |p| usize::try_from(p.line()).unwrap_or(0)), format!("it is no CSV: {e}"));
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let columns: Vec<String> = reader.headers().map_err(|e| wrong(&e))?.iter().map(str::to_owned).collect();
        if columns.iter().all(String::is_empty) {
            return Err(at(1, "it is empty: its first line names the columns".into()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = columns.iter().find(|c| c.is_empty() || !seen.insert(c.as_str())) {
            return Err(at(1, format!("column '{twice}' is there twice, or without a name")));
        }
        let mut records = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| wrong(&e))?;
            let line = record.position().map_or(0, |p| usize::try_from(p.line()).unwrap_or(0));
            records.push((line, record.iter().map(str::to_owned).collect()));
        }
        Ok(Self { columns, records })
    }

    /// The declared type of each column, or else the narrowest that fits all its values.
    fn types(&self, declared: &[ColumnWords]) -> Vec<ValueType> {
        const NARROW_FIRST: [ValueType; 5] = [ValueType::Int64, ValueType::Float64, ValueType::Bool, ValueType::Date, ValueType::Timestamp];
        let of = |(at, name): (usize, &String)| {
            let fits = |ty: &ValueType| {
                let mut cells = self.records.iter().map(|(_, r)| r[at].as_str()).filter(|c| !c.is_empty()).peekable();
                cells.peek().is_some() && cells.all(|c| plain(c) && json(c, *ty).is_some())
            };
            declared
                .iter()
                .find(|c| c.name == *name)
                .and_then(|c| c.ty)
                .or_else(|| NARROW_FIRST.into_iter().find(fits))
                .unwrap_or(ValueType::String)
        };
        self.columns.iter().enumerate().map(of).collect()
    }

    fn rows(&self, file: &str, types: &[ValueType], key: &[String]) -> Result<Vec<serde_json::Map<String, Value>>, Problem> {
        let mut lines: HashMap<Vec<&str>, usize> = HashMap::new();
        let places: Vec<usize> = key.iter().filter_map(|k| self.columns.iter().position(|c| c == k)).collect();
        let mut rows = Vec::with_capacity(self.records.len());
        for (line, cells) in &self.records {
            let at = |message: String| Problem { file: file.into(), line: *line, column: 0, message };
            let mut row = serde_json::Map::new();
            for ((name, ty), cell) in self.columns.iter().zip(types).zip(cells) {
                match (cell.is_empty(), key.contains(name)) {
                    (true, true) => {
                        return Err(at(format!("column '{name}' is part of the key and empty: name another key in a YAML file beside")));
                    }
                    (true, false) => {}
                    (false, _) => {
                        let value = json(cell, *ty).ok_or_else(|| at(format!("column '{name}': '{cell}' is not a {ty}")))?;
                        row.insert(name.clone(), value);
                    }
                }
            }
            if let Some(other) = lines.insert(places.iter().map(|p| cells[*p].as_str()).collect(), *line) {
                return Err(at(format!(
                    "the key ({}) is that of line {other}: remove one, or name a longer key in a YAML file beside",
                    key.join(", ")
                )));
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// Numbers with leading zeros are codes.
fn plain(cell: &str) -> bool {
    let digits = cell.trim_start_matches(['-', '+']);
    !(digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// A cell as JSON of a type; `None` if it is not of that type.
fn json(cell: &str, ty: ValueType) -> Option<Value> {
    match ty {
        ValueType::Int64 => cell.parse::<i64>().ok().map(Value::from),
        ValueType::Float64 => cell.parse::<f64>().ok().filter(|f| f.is_finite()).map(Value::from),
        ValueType::Bool => match cell.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        ValueType::Date => (cell.len() == "2026-01-01".len() && Micros::parse(cell).is_ok()).then(|| cell.into()),
        ValueType::Timestamp => Micros::parse(cell).is_ok().then(|| cell.into()),
        ValueType::Json => serde_json::from_str(cell).ok(),
        ValueType::String | ValueType::Bytes => Some(cell.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str =
        "code,name,population,since,zip,share\nde,Germany,83000000,1990-10-03,01234,0.5\nfr,\"France, R.\",,1958-10-04,75001,1\n";

    #[test]
    fn types_are_the_narrowest_that_fit_and_the_first_column_is_the_key() {
        let seed = Seed::parse("seeds/countries.csv", CSV, None).unwrap();
        assert_eq!(seed.spec.name, "seeds.countries");
        assert_eq!((seed.spec.key[0].name.as_str(), seed.spec.key.len()), ("code", 1));
        let types: Vec<_> = seed.spec.columns.iter().map(|c| c.ty.name()).collect();
        assert_eq!(types, ["string", "int64", "date", "string", "float64"]);
        assert_eq!(
            serde_json::to_string(&seed.rows[1]).unwrap(),
            r#"{"code":"fr","name":"France, R.","since":"1958-10-04","zip":"75001","share":1.0}"#
        );
    }

    #[test]
    fn a_file_beside_says_name_key_and_types() {
        let yaml =
            "name: core.countries\nowner: geo\nkey: [code, since]\ncolumns: {population: float64, name: {type: string, tags: [public]}}\n";
        let seed = Seed::parse("seeds/c.csv", CSV, Some(("seeds/c.yaml", yaml))).unwrap();
        assert_eq!((seed.spec.name.as_str(), seed.spec.key.len(), seed.owner.as_deref()), ("core.countries", 2, Some("geo")));
        assert_eq!(seed.notes["name"].tags, ["public"]);
        assert_eq!(seed.rows[0]["population"], 83_000_000.0);
        assert_eq!(Seed::parse("seeds/core.x.csv", CSV, None).unwrap().spec.name, "core.x");
    }

    #[test]
    fn what_is_wrong_with_a_seed_is_told_with_its_line() {
        let beside = |yaml: &'static str| Some(("seeds/c.yaml", yaml));
        for (csv, yaml, place, says) in [
            ("a,b\n1,2\n1,3\n", None, "seeds/c.csv:3: ", "line 2"),
            ("a,b\n,3\n", None, "seeds/c.csv:2: ", "empty"),
            ("a,b\n1\n", None, "seeds/c.csv:2: ", "no CSV"),
            ("a,a\n", None, "seeds/c.csv:1: ", "twice"),
            ("", None, "seeds/c.csv:1: ", "empty"),
            ("a,b\n1,x\n", beside("columns: {b: int64}"), "seeds/c.csv:2: ", "'x' is not a int64"),
            ("a,b\n1,x\n", beside("columns: {c: int64}"), "seeds/c.yaml:1:1: ", "no column 'c'"),
            ("a,b\n1,x\n", beside("\nkeys: [a]"), "seeds/c.yaml:2:1: ", "did you mean 'key'"),
        ] {
            let e = Seed::parse("seeds/c.csv", csv, yaml).unwrap_err().to_string();
            assert!(e.starts_with(place) && e.contains(says), "{e}");
        }
    }
}
