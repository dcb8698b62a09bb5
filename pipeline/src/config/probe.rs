//! A serde view of a TOML document that can show a single key of it, so that
//! each key is tried by itself and one mistake does not hide the next.

use std::fmt;
use std::iter::once;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use toml::Spanned;
use toml::de::DeValue;

/// How messages describe a list.
pub(super) const LIST: &str = "a list in [ ]";

/// How messages describe a section; what the sections expect to be.
pub(super) const SECTION: &str = "a section";

/// Why a key was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The key is not one of these.
    Unknown(&'static [&'static str]),
    /// The value is not what is described here.
    Expected(String),
    /// Another reason.
    Other(String),
}

/// One step down the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A document: tables and lists of one entry along `path`, then `leaf`.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    path: &'a [Step],
    leaf: &'a DeValue<'a>,
    hollow: bool,
}

impl<'a> Probe<'a> {
    /// The whole of `document`.
    pub(super) fn whole(document: &'a DeValue<'a>) -> Self {
        Self { path: &[], leaf: document, hollow: false }
    }

    /// Only what is at `path`: `leaf`, which is emptied if it is a table or a list.
    pub(super) fn only(path: &'a [Step], leaf: &'a DeValue<'a>) -> Self {
        Self { path, leaf, hollow: true }
    }

    fn leaf<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let inner = |value: &'a Spanned<DeValue<'a>>| Self { leaf: value.get_ref(), ..self };
        let shown = if self.hollow { 0 } else { usize::MAX };
        match self.leaf {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Integer(number) => integer(number.as_str(), number.radix(), visitor),
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(unexpected("a float", &visitor)),
            },
            DeValue::Datetime(_) => Err(unexpected("a date", &visitor)),
            DeValue::Array(list) => {
                let items = list.iter().take(shown).map(inner);
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            DeValue::Table(table) => {
                let entries = table.iter().take(shown);
                let entries = entries.map(|(key, value)| (key.get_ref().as_ref(), inner(value)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
        }
    }
}

fn integer<'de, V: Visitor<'de>>(digits: &str, radix: u32, visitor: V) -> Result<V::Value, Refusal> {
    match i64::from_str_radix(digits, radix) {
        Ok(number) => visitor.visit_i64(number),
        Err(_) => Err(unexpected("a number beyond 64 bits", &visitor)),
    }
}

fn unexpected(what: &str, expected: &dyn Expected) -> Refusal {
    de::Error::invalid_type(Unexpected::Other(what), expected)
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let Some((step, path)) = self.path.split_first() else {
            return self.leaf(visitor);
        };
        let inner = Self { path, ..self };
        match step {
            Step::Key(key) => visitor.visit_map(MapDeserializer::new(once((key.as_str(), inner)))),
            Step::Index(_) => visitor.visit_seq(SeqDeserializer::new(once(inner))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.leaf {
            DeValue::String(text) => visitor.visit_enum(text.as_ref().into_deserializer()),
            other => Err(unexpected(other.type_str(), &visitor)),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Refusal> for Probe<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(match expected.to_string().as_str() {
            "a boolean" => "true or false".to_owned(),
            "path string" => "a path in quotes".to_owned(),
            "a sequence" => LIST.to_owned(),
            described => described.to_owned(),
        })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(_: &str, variants: &'static [&'static str]) -> Self {
        let quoted: Vec<_> = variants.iter().map(|name| format!("{name:?}")).collect();
        Self::Expected(match quoted.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => quoted.concat(),
        })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown(known)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(known) => write!(f, "the keys here are {}", known.join(", ")),
            Self::Expected(what) => write!(f, "it must be {what}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Refusal {}
