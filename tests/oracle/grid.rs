use common::time::Micros;

/// Relative tolerance of numbers with a fraction.
const TOLERANCE: f64 = 1e-9;

/// The rows of an answer as text, compared by what the text means.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Grid {
    /// Reads CSV with a header.
    pub fn csv(text: &str) -> Self {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let rows = reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
        Self { header, rows }
    }

    /// Reads JSON objects, one a line; a member that is missing or null is empty.
    pub fn ndjson(text: &str, columns: &[&str]) -> Self {
        let cell = |row: &serde_json::Value, column: &str| match &row[column] {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        let row = |line: &str| {
            let row = serde_json::from_str(line).unwrap();
            columns.iter().map(|c| cell(&row, c)).collect()
        };
        Self { header: columns.iter().map(|c| (*c).to_owned()).collect(), rows: text.lines().map(row).collect() }
    }

    /// These columns only, in this order.
    pub fn pick(&self, columns: &[impl AsRef<str>]) -> Self {
        let place = |c: &str| self.header.iter().position(|h| h == c).unwrap_or_else(|| panic!("no column '{c}' in {:?}", self.header));
        let places: Vec<_> = columns.iter().map(|c| place(c.as_ref())).collect();
        let rows = self.rows.iter().map(|r| places.iter().map(|i| r[*i].clone()).collect()).collect();
        Self { header: columns.iter().map(|c| c.as_ref().to_owned()).collect(), rows }
    }

    /// The value in the first row.
    pub fn first(&self, column: &str) -> &str {
        let place = self.header.iter().position(|h| h == column).unwrap_or_else(|| panic!("no column '{column}' in {:?}", self.header));
        &self.rows[0][place]
    }

    /// Panics unless both hold the same rows in the same order, naming the first that differ.
    pub fn assert_same(&self, expected: &Self, what: &str) {
        assert_eq!(self.header, expected.header, "{what}: columns");
        for (i, (found, wanted)) in self.rows.iter().zip(&expected.rows).enumerate() {
            let same = found.iter().zip(wanted).all(|(a, b)| same(a, b));
            assert!(same, "{what}: row {i} of {:?}\n   found {found:?}\n  wanted {wanted:?}", self.header);
        }
        assert_eq!(self.rows.len(), expected.rows.len(), "{what}: rows");
    }
}

/// The same text, the same number, or the same instant.
fn same(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    if let (Ok(x), Ok(y)) = (a.parse::<f64>(), b.parse::<f64>()) {
        return (x - y).abs() <= TOLERANCE * x.abs().max(y.abs());
    }
    matches!((Micros::parse(a), Micros::parse(b)), (Ok(x), Ok(y)) if x == y)
}

#[test]
fn cells_compare_by_meaning() {
    for (a, b) in [("1", "1.0"), ("0.1", "0.10000000000000001"), ("2015-01-01T00:00:00", "2015-01-01T00:00:00.000Z"), ("", "")] {
        assert!(same(a, b), "{a} {b}");
    }
    for (a, b) in [("1", "2"), ("1.0", "1.00001"), ("", "0"), ("2015-01-01", "2015-01-02"), ("a", "b")] {
        assert!(!same(a, b), "{a} {b}");
    }
}
