//! Why a message is no record.

use crate::record::RecordError;

/// A message is not the `weir.v1.Record` of a record.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExchangeError {
    /// It is not protobuf.
    #[error("the message of a {message} is not valid protobuf; the topic is damaged")]
    Damaged {
        /// The message, in words.
        message: &'static str,
    },
    /// It holds nothing.
    #[error("a message holds no record; something other than weir has written to the topic")]
    Empty,
    /// It holds two records, of which one would be lost.
    #[error("a message holds more than one record; something other than weir has written to the topic")]
    Twice,
    /// A field of a newer version, without which the record would be another one.
    #[error(
        "the message of a {message} has the unknown field {field}; it was written by a newer version of weir"
    )]
    Unknown {
        /// The message, in words.
        message: &'static str,
        /// The number of the field.
        field: u32,
    },
    /// An enumeration has a number that none of its values has.
    #[error(
        "field {field} of the message of a {message} has the unknown value {value}; \
         it was written by a newer version of weir"
    )]
    Value {
        /// The message, in words.
        message: &'static str,
        /// The number of the field.
        field: u32,
        /// The number found.
        value: i64,
    },
    /// A field has what no record can hold.
    #[error("field {field} of the message of a {message} {fault}; something other than weir has written it")]
    Field {
        /// The message, in words.
        message: &'static str,
        /// The number of the field.
        field: u32,
        /// What is wrong with it.
        fault: FieldFault,
    },
    /// A record that goes as it stands is none.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A command cannot be read.
    #[error("the message of a command cannot be read: {0}")]
    Command(#[from] prost::DecodeError),
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum FieldFault {
    /// It is not encoded as its type is.
    #[error("has another type than its schema gives it")]
    Type,
    /// A number does not fit the record.
    #[error("has a number that is out of range")]
    Range,
    /// A text or bytes do not fit the record.
    #[error("is longer than its record allows")]
    Length,
    /// A text is not UTF-8.
    #[error("is not UTF-8")]
    Text,
    /// There is no record without it.
    #[error("is missing or empty")]
    Missing,
    /// It is neither an IPv4 nor an IPv6 address.
    #[error("is no address such as 192.0.2.1 or 2001:db8::1")]
    Address,
    /// It is no currency.
    #[error("is no currency such as EUR")]
    Currency,
    /// An amount is in another currency than the amount before, or in one where the record has none.
    #[error("is in another currency than its record")]
    OtherCurrency,
    /// Units and nanos are not of the same sign, or the nanos make a unit.
    #[error("is no amount of whole units and billionths of the same sign")]
    Amount,
    /// It is no id of a message.
    #[error("is no id such as charges/1/3/120")]
    MessageId,
}
