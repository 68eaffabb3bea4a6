use super::get::document_type;
use crate::rows::documents::{as_text, elements, names};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListBuilder, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::borrow::Cow;
use std::sync::Arc;

/// Functions of one document that look at all its members or elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    /// `json_keys`: an object's names; none for other documents.
    Keys,
    /// `json_array_length`: the number of elements; 0 for other documents.
    Length,
    /// `json_array_elements`: the elements as JSON text; null for other documents.
    Elements,
    /// `json_array_elements_text`: the elements as SQL text; null for other documents.
    ElementTexts,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Lists {
    what: What,
    signature: Signature,
    aliases: Vec<String>,
}

pub(super) fn functions() -> Vec<ScalarUDF> {
    let each = [What::Keys, What::Length, What::Elements, What::ElementTexts];
    each.map(|what| ScalarUDF::from(Lists::new(what))).into()
}

impl Lists {
    fn new(what: What) -> Self {
        let aliases = if what == What::Keys { vec!["json_object_keys".to_owned()] } else { Vec::new() };
        Self { what, signature: Signature::user_defined(Volatility::Immutable), aliases }
    }
}

impl ScalarUDFImpl for Lists {
    fn name(&self) -> &str {
        match self.what {
            What::Keys => "json_keys",
            What::Length => "json_array_length",
            What::Elements => "json_array_elements",
            What::ElementTexts => "json_array_elements_text",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            What::Length => DataType::Int64,
            _ => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [one] => match document_type(one) {
                Some(ty) => Ok(vec![ty]),
                None => plan_err!("{} reads JSON text or a map of undeclared attributes, not {one}", self.name()),
            },
            _ => plan_err!("{} takes one document", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [document] = args.args.as_slice() else {
            return exec_err!("{} takes one document", self.name());
        };
        let documents = document.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(match self.what {
            What::Length => lengths(&documents),
            _ => self.lists(&documents),
        }))
    }
}

impl Lists {
    fn lists(&self, documents: &ArrayRef) -> ArrayRef {
        let mut out = ListBuilder::new(StringBuilder::new());
        for row in 0..documents.len() {
            match (!documents.is_null(row)).then(|| self.list(documents, row)).flatten() {
                Some(list) => {
                    list.into_iter().for_each(|text| out.values().append_option(text));
                    out.append(true);
                }
                None => out.append(false),
            }
        }
        Arc::new(out.finish())
    }

    fn list<'a>(&self, documents: &'a ArrayRef, row: usize) -> Option<Vec<Option<Cow<'a, str>>>> {
        if let DataType::Map(..) = documents.data_type() {
            let maps = documents.as_map();
            let (from, to) = (maps.value_offsets()[row] as usize, maps.value_offsets()[row + 1] as usize);
            let keys = maps.keys().as_string::<i32>();
            return (self.what == What::Keys).then(|| (from..to).map(|i| Some(Cow::Borrowed(keys.value(i)))).collect());
        }
        let document = documents.as_string::<i32>().value(row);
        match self.what {
            What::Keys => Some(names(document).unwrap_or_default().into_iter().map(|n| Some(Cow::Owned(n))).collect()),
            What::ElementTexts => Some(elements(document)?.into_iter().map(as_text).collect()),
            _ => Some(elements(document)?.into_iter().map(|e| Some(Cow::Borrowed(e))).collect()),
        }
    }
}

fn lengths(documents: &ArrayRef) -> ArrayRef {
    let length = |document: Option<&str>| document.map(|d| elements(d).map_or(0, |e| e.len() as i64));
    match documents.data_type() {
        DataType::Utf8 => Arc::new(documents.as_string::<i32>().iter().map(length).collect::<Int64Array>()),
        // A map stands for an object.
        _ => Arc::new((0..documents.len()).map(|i| (!documents.is_null(i)).then_some(0)).collect::<Int64Array>()),
    }
}
