use super::Values;
use bytes::Bytes;
use common::time::Micros;
use common::value::Value;
use common::{Error, Result};
use std::cmp::Ordering;

/// What one window contributes to one key: a folded value for each column of the merge.
///
/// It is kept in a cell of the family [`Part::FAMILY`] whose qualifier is [`Part::qualifier`].
#[derive(Clone, Debug, PartialEq)]
pub struct Part(pub Values);

impl Part {
    /// The hidden family of parts.
    pub const FAMILY: &'static str = "_parts";
    /// The window of a merge without windows.
    pub const WHOLE: Micros = Micros(0);

    /// The qualifier of a window's part: its start, so that byte order is window order.
    #[must_use]
    pub fn qualifier(window_start: Micros) -> Bytes {
        Bytes::copy_from_slice(&(window_start.0 as u64 ^ 1 << 63).to_be_bytes())
    }

    /// The window start in a qualifier.
    ///
    /// # Errors
    /// `Corrupt` if it is no qualifier of a part.
    pub fn window(qualifier: &[u8]) -> Result<Micros> {
        let bytes = <[u8; 8]>::try_from(qualifier).map_err(|_| Error::corrupt("the qualifier of a merge part is not 8 bytes"))?;
        Ok(Micros((u64::from_be_bytes(bytes) ^ 1 << 63) as i64))
    }

    /// The cell's value: a JSON list of values, each tagged with its type.
    ///
    /// # Errors
    /// `Internal`: only if values cannot be written as JSON.
    pub fn encode(&self) -> Result<Bytes> {
        let exact: Vec<_> = self.0.iter().map(|v| v.as_ref().map(Exact::of)).collect();
        serde_json::to_vec(&exact).map(Bytes::from).map_err(|e| Error::internal(format!("a merge part does not encode: {e}")))
    }

    /// Reads a cell back.
    ///
    /// # Errors
    /// `Corrupt` if it is no part.
    pub fn decode(cell: &[u8]) -> Result<Self> {
        let exact: Vec<Option<Exact>> =
            serde_json::from_slice(cell).map_err(|e| Error::corrupt(format!("a merge part does not decode: {e}")))?;
        Ok(Self(exact.into_iter().map(|v| v.map(Exact::value)).collect()))
    }
}

/// A value as JSON that keeps every bit: a float is its bits, as JSON has no NaN and no −0.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Exact {
    I(i64),
    F(u64),
    S(String),
    B(bool),
    T(i64),
    D(i32),
    X(Vec<u8>),
    J(String),
}

impl Exact {
    fn of(value: &Value) -> Self {
        match value {
            Value::Int64(n) => Self::I(*n),
            Value::Float64(f) => Self::F(f.to_bits()),
            Value::String(s) => Self::S(s.clone()),
            Value::Bool(b) => Self::B(*b),
            Value::Timestamp(t) => Self::T(t.0),
            Value::Date(d) => Self::D(*d),
            Value::Bytes(b) => Self::X(b.to_vec()),
            Value::Json(j) => Self::J(j.clone()),
        }
    }

    fn value(self) -> Value {
        match self {
            Self::I(n) => Value::Int64(n),
            Self::F(bits) => Value::Float64(f64::from_bits(bits)),
            Self::S(s) => Value::String(s),
            Self::B(b) => Value::Bool(b),
            Self::T(t) => Value::Timestamp(Micros(t)),
            Self::D(d) => Value::Date(d),
            Self::X(b) => Value::Bytes(b.into()),
            Self::J(j) => Value::Json(j),
        }
    }
}

/// A total order of values: null first, floats by `total_cmp`, text by bytes.
pub(super) fn order(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => order_values(a, b),
    }
}

fn order_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int64(a), Value::Int64(b)) => a.cmp(b),
        (Value::Float64(a), Value::Float64(b)) => a.total_cmp(b),
        (Value::String(a), Value::String(b)) | (Value::Json(a), Value::Json(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        // A column has one type, so this orders nothing that occurs; it keeps the order total.
        (a, b) => (a.ty() as u8).cmp(&(b.ty() as u8)),
    }
}

pub(super) fn order_all(a: &Values, b: &Values) -> Ordering {
    let pairs = a.iter().zip(b).map(|(a, b)| order(a.as_ref(), b.as_ref()));
    pairs.fold(Ordering::Equal, Ordering::then)
}
