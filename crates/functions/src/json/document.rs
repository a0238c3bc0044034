//! Documents whose members keep the order in which they are written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Floats below are written without a point where they are whole.
const WHOLE_MAX: f64 = 1e15;

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Value>),
    Object(Members),
}

/// The members of an object. Of two of one name the last one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Members(Vec<(String, Value)>);

impl Value {
    /// The member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// The element of an array, from 0.
    pub(super) fn element(&self, place: usize) -> Option<&Value> {
        self.as_array()?.get(place)
    }

    pub(super) fn as_array(&self) -> Option<&Vec<Value>> {
        match self {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The member of this name, which is null when it was not there.
    pub(super) fn member_mut(&mut self, name: &str) -> &mut Value {
        let at = self.0.iter().rposition(|(known, _)| known == name).unwrap_or_else(|| {
            self.0.push((name.to_owned(), Value::Null));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl FromIterator<(String, Value)> for Members {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Members {
        Members(members.into_iter().collect())
    }
}

/// Without blanks.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &String| serde_json::to_string(text).map_err(|_| fmt::Error);
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            // A whole number needs no point.
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) if float.fract() == 0.0 && float.abs() < WHOLE_MAX => {
                    write!(f, "{float:.0}")
                }
                _ => write!(f, "{number}"),
            },
            Value::String(text) => f.write_str(&quoted(text)?),
            Value::Array(elements) => {
                f.write_str("[")?;
                for (at, element) in elements.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(f, "{comma}{element}")?;
                }
                f.write_str("]")
            }
            Value::Object(members) => {
                f.write_str("{")?;
                for (at, (name, value)) in members.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(f, "{comma}{}:{value}", quoted(name)?)?;
                }
                f.write_str("}")
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = all.next_element()? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = all.next_entry()? {
            members.push(member);
        }
        Ok(Value::Object(Members(members)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_written_as_they_were_read() {
        for (text, written) in [
            (r#" {"b" : 1, "a": [true, null, "x\"y"]} "#, r#"{"b":1,"a":[true,null,"x\"y"]}"#),
            ("1.5", "1.5"),
            ("1.0", "1"),
            ("-2e3", "-2000"),
            ("-7", "-7"),
            ("18446744073709551615", "18446744073709551615"),
            (r#""\u00e9""#, "\"\u{e9}\""),
            ("[]", "[]"),
            ("{}", "{}"),
        ] {
            let document: Value = serde_json::from_str(text).expect(text);
            assert_eq!(document.to_string(), written);
        }
        assert!(serde_json::from_str::<Value>("{").is_err());
        let twice: Value = serde_json::from_str(r#"{"a": 1, "a": 2}"#).expect("a document");
        assert_eq!(twice.get("a"), Some(&Value::Number(2.into())));
    }
}
