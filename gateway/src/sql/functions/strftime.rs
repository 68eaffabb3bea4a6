use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::fmt::Write;
use std::sync::Arc;

/// `strftime(time, format)`: a time or date as text by a C format, in UTC. `%f` are microseconds, as in `DuckDB`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Strftime {
    signature: Signature,
}

pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(Strftime { signature: Signature::user_defined(Volatility::Immutable) })
}

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

impl ScalarUDFImpl for Strftime {
    fn name(&self) -> &str {
        "strftime"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [time, format] if time.is_temporal() && (format.is_string() || format.is_null()) => Ok(vec![MICROS, DataType::Utf8]),
            [DataType::Null, _] => Ok(vec![MICROS, DataType::Utf8]),
            _ => plan_err!("strftime takes a time or date and a format, as in strftime(at, '%Y-%m')"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time, format] = args.args.as_slice() else {
            return exec_err!("strftime takes two arguments");
        };
        let times = time.to_array(args.number_rows)?;
        let single = matches!(format, ColumnarValue::Scalar(_));
        let formats = format.to_array(if single { 1 } else { args.number_rows })?;
        Ok(ColumnarValue::Array(texts(&times, &formats, single)?))
    }
}

fn texts(times: &ArrayRef, formats: &ArrayRef, single: bool) -> Result<ArrayRef> {
    let (times, formats) = (times.as_primitive::<TimestampMicrosecondType>(), formats.as_string::<i32>());
    let mut out = StringBuilder::with_capacity(times.len(), times.len() * 10);
    let mut one = None;
    let mut text = String::new();
    for row in 0..times.len() {
        let at = if single { 0 } else { row };
        if times.is_null(row) || formats.is_null(at) {
            out.append_null();
            continue;
        }
        if !single || one.is_none() {
            one = Some(items(formats.value(at))?);
        }
        let (Some(items), Some(time)) = (&one, DateTime::<Utc>::from_timestamp_micros(times.value(row))) else {
            return exec_err!("strftime: {} µs is outside the calendar", times.value(row));
        };
        text.clear();
        if write!(text, "{}", time.format_with_items(items.iter())).is_err() {
            return exec_err!("strftime: '{}' does not fit a time", formats.value(at));
        }
        out.append_value(&text);
    }
    Ok(Arc::new(out.finish()))
}

fn items(format: &str) -> Result<Vec<Item<'static>>> {
    // chrono's own %f are nanoseconds. A doubled % is a plain one, whatever follows it.
    let format = format.split("%%").map(|f| f.replace("%f", "%6f")).collect::<Vec<_>>().join("%%");
    let items = StrftimeItems::new(&format).parse_to_owned();
    items.or_else(|_| exec_err!("strftime: '{format}' is not a format: write one as in '%Y-%m-%d %H:%M:%S'"))
}
