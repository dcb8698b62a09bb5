//! Records as messages: one of a log that is not Weir's own holds a `weir.v1.Record`, which any client of that
//! log can read, and from which the record's bytes come back as they were.
//!
//! The messages are written and read here in place, without the generated types: those would take memory for
//! every text of every record. That both have one form is tested.
//!
//! A record is told field by field only if its own encoder writes the very same bytes for them, and if its amounts
//! fit `weir.v1.Money`; any other goes as it stands. So nothing that a layout allows can be lost.

mod adjustment;
mod charge;
mod command;
mod dropped;
mod error;
mod event;
mod letter;
mod notice;
mod takeover;
mod values;
mod wire;

#[cfg(test)]
mod tests;

pub use error::{ExchangeError, FieldFault};

use crate::record::{Record, RecordError};
use wire::{Fields, Writer};

const EVENT: u32 = 1;
const TICK: u32 = 2;
const CHARGE: u32 = 3;
const DROPPED: u32 = 4;
const NOTICE: u32 = 5;
const ADJUSTMENT: u32 = 6;
const LETTER: u32 = 7;
const COMMAND: u32 = 8;
const ANSWER: u32 = 9;
const TAKEOVER: u32 = 10;
const OPAQUE: u32 = 15;

/// Replaces `out` by the encoded `weir.v1.Record` of a record's bytes; by nothing, if they are no record.
pub fn to_message(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    out.clear();
    let record = Record::decode(bytes)?;
    // A message is about as long as its record, and hardly ever twice as long.
    out.reserve(2 * bytes.len());
    let told = match record {
        Record::Event(event) => event::put(event, out),
        Record::Tick(minute) => notice::put_tick(minute, bytes, out),
        Record::Charge(charge) => charge::put(&charge, bytes, out),
        Record::Dropped(dropped) => dropped::put(&dropped, bytes, out),
        Record::Notice(notice) => notice::put(&notice, bytes, out),
        Record::Takeover(takeover) => takeover::put(&takeover, bytes, out),
        Record::Adjustment(adjustment) => adjustment::put(&adjustment, bytes, out),
        Record::Retry(letter) | Record::Dead(letter) => letter::put(&letter, bytes, out),
        Record::Command(command) => command::put(&command, bytes, out),
        Record::Answer(answer) => command::put_answer(&answer, bytes, out),
    };
    if told.is_none() {
        out.clear();
        Writer(out).bytes(OPAQUE, bytes);
    }
    Ok(())
}

/// Replaces `out` by the bytes of the record that an encoded `weir.v1.Record` holds; by nothing, if it is none.
pub fn from_message(message: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> {
    out.clear();
    let mut fields = Fields::of("record", message);
    let field = fields.next()?.ok_or(ExchangeError::Empty)?;
    let held = field.bytes(usize::MAX)?;
    if fields.next()?.is_some() {
        return Err(ExchangeError::Twice);
    }
    match field.number {
        EVENT => event::read(held)?.encode(out),
        TICK => out.extend_from_slice(&notice::read_tick(held)?),
        CHARGE => charge::read(held, out)?,
        DROPPED => dropped::read(held, out)?,
        NOTICE => out.extend_from_slice(&notice::read(held)?.encode()),
        TAKEOVER => out.extend_from_slice(&takeover::read(held)?.encode()),
        ADJUSTMENT => adjustment::read(held, out)?,
        LETTER => letter::read(held, out)?,
        COMMAND => command::read(held, out)?,
        ANSWER => command::read_answer(held, out)?,
        OPAQUE => {
            Record::decode(held)?;
            out.extend_from_slice(held);
        }
        _ => return Err(field.unknown()),
    }
    Ok(())
}

/// Whether a record's bytes are these, one after the other.
fn is_made_of(bytes: &[u8], parts: &[&[u8]]) -> bool {
    let mut rest = bytes;
    let all = parts.iter().all(|part| rest.strip_prefix(*part).map(|behind| rest = behind).is_some());
    all && rest.is_empty()
}
