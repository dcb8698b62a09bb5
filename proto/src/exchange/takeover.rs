//! Takeovers.

use super::TAKEOVER;
use super::error::{ExchangeError, FieldFault};
use super::wire::{Fields, Writer};
use crate::takeover::Takeover;

pub(super) fn put(takeover: &Takeover, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if takeover.encode() != bytes {
        return None;
    }
    Writer(out).nested(TAKEOVER, |to| {
        to.uint(1, takeover.worker.into());
        to.uint(2, takeover.partition.into());
        to.uint(3, takeover.time_ms);
        to.uint(4, takeover.took_ms);
        to.uint(5, takeover.behind);
    });
    Some(())
}

pub(super) fn read(message: &[u8]) -> Result<Takeover, ExchangeError> {
    let mut fields = Fields::of("takeover", message);
    let mut takeover = Takeover { worker: 0, partition: 0, time_ms: 0, took_ms: 0, behind: 0 };
    while let Some(field) = fields.next()? {
        match field.number {
            1 => takeover.worker = field.uint()?.try_into().map_err(|_| field.fault(FieldFault::Range))?,
            2 => takeover.partition = field.uint32()?,
            3 => takeover.time_ms = field.uint()?,
            4 => takeover.took_ms = field.uint()?,
            5 => takeover.behind = field.uint()?,
            _ => return Err(field.unknown()),
        }
    }
    Ok(takeover)
}
