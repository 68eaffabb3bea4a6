use crate::rows::documents::{as_text, element, member};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, MapArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// What a part of a document is given as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// JSON text.
    Json,
    /// SQL text: strings without quotes.
    Text,
}

/// `json_get(document, name or index)` and `json_get_text(document, name or index)`: the operators `->` and `->>`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Get {
    form: Form,
    signature: Signature,
}

pub(super) fn function(form: Form) -> ScalarUDF {
    ScalarUDF::from(Get { form, signature: Signature::user_defined(Volatility::Immutable) })
}

/// The type that a document argument is read as.
pub(super) fn document_type(ty: &DataType) -> Option<DataType> {
    match ty {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Some(DataType::Utf8),
        DataType::Map(entry, _) => is_text_map(entry.data_type()).then(|| ty.clone()),
        _ => None,
    }
}

fn is_text_map(entry: &DataType) -> bool {
    matches!(entry, DataType::Struct(fields) if fields.iter().all(|f| *f.data_type() == DataType::Utf8))
}

impl ScalarUDFImpl for Get {
    fn name(&self) -> &str {
        match self.form {
            Form::Json => "json_get",
            Form::Text => "json_get_text",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let operator = if self.form == Form::Json { "->" } else { "->>" };
        let side = |e: &Expr| match e {
            Expr::Literal(v, _) => v.try_as_str().flatten().map_or_else(|| v.to_string(), |s| format!("'{s}'")),
            other => other.schema_name().to_string(),
        };
        Ok(args.iter().map(side).collect::<Vec<_>>().join(operator))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [document, key] = types else {
            return plan_err!("{} takes a document and a name or an index", self.name());
        };
        let Some(document) = document_type(document) else {
            return plan_err!("-> and ->> read JSON text or a map of undeclared attributes, not {document}");
        };
        match key {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Ok(vec![document, DataType::Utf8]),
            key if key.is_integer() => Ok(vec![document, DataType::Int64]),
            key => plan_err!("-> and ->> take a name or an index on the right, not {key}: put the comparison in front into parentheses"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [document, key] = args.args.as_slice() else {
            return exec_err!("{} takes two arguments", self.name());
        };
        // One key for all rows is the rule; it is not spread out.
        let single = matches!(key, ColumnarValue::Scalar(_));
        let key = key.to_array(if single { 1 } else { args.number_rows })?;
        let document = document.to_array(args.number_rows)?;
        let at = |row: usize| if single { 0 } else { row };
        Ok(ColumnarValue::Array(self.get(&document, &key, at)?))
    }
}

impl Get {
    fn get(&self, documents: &ArrayRef, keys: &ArrayRef, at: impl Fn(usize) -> usize) -> Result<ArrayRef> {
        let mut out = StringBuilder::with_capacity(documents.len(), 0);
        for row in 0..documents.len() {
            let key = at(row);
            let found = match () {
                () if documents.is_null(row) || keys.is_null(key) => None,
                () => match (documents.data_type(), keys.data_type()) {
                    (DataType::Utf8, DataType::Utf8) => member(documents.as_string::<i32>().value(row), keys.as_string::<i32>().value(key)),
                    (DataType::Utf8, DataType::Int64) => {
                        element(documents.as_string::<i32>().value(row), keys.as_primitive::<Int64Type>().value(key))
                    }
                    (DataType::Map(..), DataType::Utf8) => entry(documents.as_map(), row, keys.as_string::<i32>().value(key)),
                    // An object has no elements.
                    (DataType::Map(..), DataType::Int64) => None,
                    (documents, keys) => return exec_err!("{} of {documents} and {keys}", self.name()),
                },
            };
            match self.form {
                Form::Json => out.append_option(found),
                Form::Text => out.append_option(found.and_then(as_text)),
            }
        }
        Ok(Arc::new(out.finish()))
    }
}

/// The value under a key of one row's map.
fn entry<'a>(maps: &'a MapArray, row: usize, key: &str) -> Option<&'a str> {
    let (from, to) = (maps.value_offsets()[row] as usize, maps.value_offsets()[row + 1] as usize);
    let (keys, values) = (maps.keys().as_string::<i32>(), maps.values().as_string::<i32>());
    let found = (from..to).find(|&i| keys.value(i) == key)?;
    (!values.is_null(found)).then(|| values.value(found))
}
