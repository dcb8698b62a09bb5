//! The encoding of protobuf, as far as the messages of records need it: numbers, texts and messages in messages.

use super::error::{ExchangeError, FieldFault};
use crate::bytes::{put_varint, take_varint};
use std::fmt::{self, Write};

const VARINT: u64 = 0;
const DELIMITED: u64 = 2;

/// Writes fields. As proto3 has it, one without presence is left out if it is zero or empty.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn uint(&mut self, field: u32, number: u64) {
        if number != 0 {
            self.key(field, VARINT);
            put_varint(self.0, number);
        }
    }

    /// An `int32` or `int64`: two's complement.
    pub(super) fn int(&mut self, field: u32, number: i64) {
        self.uint(field, number as u64);
    }

    /// A `sint32` or `sint64`: zigzag.
    pub(super) fn sint(&mut self, field: u32, number: i64) {
        self.uint(field, (number << 1 ^ number >> 63) as u64);
    }

    pub(super) fn flag(&mut self, field: u32, is_set: bool) {
        self.uint(field, is_set.into());
    }

    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.key(field, DELIMITED);
            put_varint(self.0, bytes.len() as u64);
            self.0.extend_from_slice(bytes);
        }
    }

    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// What `body` writes, with its length in front; it is there even if it is empty.
    pub(super) fn nested<R>(&mut self, field: u32, body: impl FnOnce(&mut Writer<'_>) -> R) -> R {
        self.key(field, DELIMITED);
        let start = self.0.len();
        // How long the length is shows behind the body, and most are of one byte.
        self.0.push(0);
        let result = body(&mut Writer(self.0));
        let mut len = self.0.len() - start - 1;
        if let Some(more) = (len.max(1).ilog2() / 7).checked_sub(1).map(|more| more as usize + 1) {
            let end = self.0.len();
            self.0.resize(end + more, 0);
            self.0.copy_within(start + 1..end, start + 1 + more);
        }
        let mut at = start;
        while len >= 0x80 {
            self.0[at] = len as u8 | 0x80;
            (len, at) = (len >> 7, at + 1);
        }
        self.0[at] = len as u8;
        result
    }

    /// A text as it is shown.
    pub(super) fn shown(&mut self, field: u32, what: &impl fmt::Display) -> Option<()> {
        self.nested(field, |to| write!(to, "{what}")).ok()
    }

    fn key(&mut self, field: u32, wire: u64) {
        put_varint(self.0, u64::from(field) << 3 | wire);
    }
}

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// The fields of a message. Where one stands twice, the last counts.
pub(super) struct Fields<'a> {
    message: &'static str,
    rest: &'a [u8],
}

/// One field as it was found.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    message: &'static str,
    pub(super) number: u32,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// No field here has such a type; it is an error whatever is asked of it, and nothing behind it is read.
    Other,
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'static str, rest: &'a [u8]) -> Self {
        Fields { message, rest }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, ExchangeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let message = self.message;
        self.take().map(Some).ok_or(ExchangeError::Damaged { message })
    }

    #[inline]
    fn take(&mut self) -> Option<Field<'a>> {
        let key = take_varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number != 0)?;
        let value = match key & 7 {
            VARINT => Value::Number(take_varint(&mut self.rest)?),
            DELIMITED => {
                let len = usize::try_from(take_varint(&mut self.rest)?).ok()?;
                let (bytes, rest) = self.rest.split_at_checked(len)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            _ => Value::Other,
        };
        Some(Field { message: self.message, number, value })
    }

    /// The error of a field that the message cannot be without.
    pub(super) fn missing(&self, field: u32) -> ExchangeError {
        ExchangeError::Field { message: self.message, field, fault: FieldFault::Missing }
    }
}

impl<'a> Field<'a> {
    /// The error of a field that has no meaning.
    pub(super) fn unknown(&self) -> ExchangeError {
        ExchangeError::Unknown { message: self.message, field: self.number }
    }

    /// The error of an enumeration that has no such value.
    pub(super) fn unknown_value(&self, value: u64) -> ExchangeError {
        ExchangeError::Value { message: self.message, field: self.number, value: value as i64 }
    }

    pub(super) fn fault(&self, fault: FieldFault) -> ExchangeError {
        ExchangeError::Field { message: self.message, field: self.number, fault }
    }

    pub(super) fn uint(&self) -> Result<u64, ExchangeError> {
        match self.value {
            Value::Number(number) => Ok(number),
            _ => Err(self.fault(FieldFault::Type)),
        }
    }

    pub(super) fn uint32(&self) -> Result<u32, ExchangeError> {
        u32::try_from(self.uint()?).map_err(|_| self.fault(FieldFault::Range))
    }

    /// An `int32` or `int64`.
    pub(super) fn int(&self) -> Result<i64, ExchangeError> {
        Ok(self.uint()? as i64)
    }

    /// A `sint32` or `sint64`.
    pub(super) fn sint(&self) -> Result<i64, ExchangeError> {
        let number = self.uint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn flag(&self) -> Result<bool, ExchangeError> {
        Ok(self.uint()? != 0)
    }

    pub(super) fn bytes(&self, max: usize) -> Result<&'a [u8], ExchangeError> {
        match self.value {
            Value::Bytes(bytes) if bytes.len() <= max => Ok(bytes),
            Value::Bytes(_) => Err(self.fault(FieldFault::Length)),
            _ => Err(self.fault(FieldFault::Type)),
        }
    }

    pub(super) fn text(&self, max: usize) -> Result<&'a str, ExchangeError> {
        std::str::from_utf8(self.bytes(max)?).map_err(|_| self.fault(FieldFault::Text))
    }

    /// Its numbers, if it is repeated: all in one, as proto3 writes them, or one of them.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(u64) -> Result<(), ExchangeError>,
    ) -> Result<(), ExchangeError> {
        match self.value {
            Value::Number(number) => take(number),
            Value::Bytes(mut rest) => {
                while !rest.is_empty() {
                    let message = self.message;
                    take(take_varint(&mut rest).ok_or(ExchangeError::Damaged { message })?)?;
                }
                Ok(())
            }
            Value::Other => Err(self.fault(FieldFault::Type)),
        }
    }

    /// The fields of the message that it holds.
    pub(super) fn nested(&self, message: &'static str) -> Result<Fields<'a>, ExchangeError> {
        self.bytes(usize::MAX).map(|bytes| Fields::of(message, bytes))
    }
}
