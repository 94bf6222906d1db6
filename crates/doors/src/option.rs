//! Text and headers as they stand in options, both ways.

use crate::refusal::Refused;
use courant::{Header, Refusal, Value};
use courant_wire::Text;
use courant_wire::text::{HeaderField, HeaderForm, Key, Line, Options};

/// A header, unescaped.
#[derive(Debug)]
pub(crate) struct Carrying {
    name: String,
    value: CarriedValue,
}

#[derive(Debug)]
enum CarriedValue {
    Text(String),
    Int(i64),
    Bool(bool),
    Null,
}

impl Carrying {
    pub(crate) fn read(header: &HeaderField<'_>) -> Result<Self, Refused> {
        let value = match header.form {
            HeaderForm::Text => CarriedValue::Text(unescape(&header.value)?),
            // The decoder looked that it is one.
            HeaderForm::Int => CarriedValue::Int(header.int().unwrap_or_default()),
            HeaderForm::Bool => CarriedValue::Bool(header.value.raw() == b"yes"),
            HeaderForm::Null => CarriedValue::Null,
        };
        Ok(Self { name: unescape(&header.name)?, value })
    }

    pub(crate) fn header(&self) -> Header<'_> {
        let value = match &self.value {
            CarriedValue::Text(text) => Value::Text(text),
            CarriedValue::Int(int) => Value::Int(*int),
            CarriedValue::Bool(bool) => Value::Bool(*bool),
            CarriedValue::Null => Value::Null,
        };
        Header { name: &self.name, value }
    }
}

/// Writes headers, each by its type.
pub(crate) fn headers<'o>(mut line: Line<'o>, headers: &[Header<'_>]) -> Line<'o> {
    for Header { name, value } in headers {
        line = match value {
            Value::Null => line.typed_header(HeaderForm::Null, name.as_bytes(), b""),
            Value::Bool(value) => {
                let word: &[u8] = if *value { b"yes" } else { b"no" };
                line.typed_header(HeaderForm::Bool, name.as_bytes(), word)
            }
            Value::Int(value) => {
                let number = value.to_string();
                line.typed_header(HeaderForm::Int, name.as_bytes(), number.as_bytes())
            }
            Value::Float(value) => line.header(name.as_bytes(), value.to_string().as_bytes()),
            Value::Text(value) => line.header(name.as_bytes(), value.as_bytes()),
            Value::Bytes(value) => line.header(name.as_bytes(), value),
            Value::Time(value) => line.header(name.as_bytes(), value.to_string().as_bytes()),
        };
    }
    line
}

pub(crate) fn not_text(what: &str) -> Refused {
    Refused::about(Refusal::NotUtf8, what)
}

/// The value of an option that is text.
pub(crate) fn text(options: &Options<'_>, key: Key) -> Result<Option<String>, Refused> {
    options.get(key).map(|value| unescape(&value)).transpose()
}

fn unescape(value: &Text<'_>) -> Result<String, Refused> {
    let mut buffer = Vec::new();
    let bytes = value.bytes(&mut buffer).map_err(|_| not_text("an option"))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| not_text("an option"))
}
