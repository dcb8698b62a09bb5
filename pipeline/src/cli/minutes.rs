//! Minutes as people name them.

use super::Failure;
use crate::generations::Cuts;
use weir_proto::Minute;

const DAY: u32 = 24 * 60;

/// A time in RFC 3339, or the hour and minute of the last day (UTC) up to the newest cut.
pub(super) fn minute(text: &str, cuts: &Cuts<'_>) -> Result<Minute, Failure> {
    minute_before(text, || Ok(cuts.newest()?.unwrap_or_default()))
}

/// The same with a newest minute that is asked for if need be.
pub(super) fn minute_before(
    text: &str,
    newest: impl FnOnce() -> Result<Minute, Failure>,
) -> Result<Minute, Failure> {
    if let Ok(minute) = text.parse() {
        return Ok(minute);
    }
    let unknown = || {
        Failure::usage(format!(
            "{text:?} is no minute: give one such as 2026-01-01T10:05Z, or 10:05 for the last one of that hour \
             and minute in UTC"
        ))
    };
    let (hours, minutes) = text.split_once(':').ok_or_else(unknown)?;
    let number = |text: &str, limit: u32| text.parse().ok().filter(|n: &u32| *n < limit && text.len() == 2);
    let (Some(hours), Some(minutes)) = (number(hours, 24), number(minutes, 60)) else {
        return Err(unknown());
    };
    let newest = newest()?;
    let midnight = newest.0 - newest.0 % DAY;
    let of_day = hours * 60 + minutes;
    let day = if midnight + of_day > newest.0 { midnight.saturating_sub(DAY) } else { midnight };
    Ok(Minute(day + of_day))
}
