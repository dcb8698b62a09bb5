//! Durations as they are written in the configuration: `5ms`, `90s`, `24h`, `3d`.

use std::time::Duration;

/// The units and their lengths in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest duration accepted, in milliseconds (3650 days), so that sums of
/// durations and timestamps stay far from overflow.
pub const LONGEST_MS: u64 = 3650 * 86_400_000;

/// A text that is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a duration as a whole number and ms, s, m, h or d, at most 3650d, such as 24h")]
pub struct NotADuration;

/// Reads a whole number followed directly by `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// [`NotADuration`] for anything else, and for more than [`LONGEST_MS`].
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| NotADuration)?;
    UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, length)| number.checked_mul(*length))
        .filter(|ms| *ms <= LONGEST_MS)
        .map(Duration::from_millis)
        .ok_or(NotADuration)
}

/// The whole milliseconds in `duration`; `u64::MAX` if there are more.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Writes `duration` in the longest unit that keeps it a whole number; less
/// than a millisecond is dropped.
#[must_use]
pub fn text(duration: Duration) -> String {
    let ms = millis(duration);
    UNITS
        .iter()
        .find(|(_, length)| ms > 0 && ms.is_multiple_of(*length))
        .map_or_else(|| format!("{ms}ms"), |(name, length)| format!("{}{name}", ms / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit() {
        let ms = |text| parse(text).map(millis);
        assert_eq!(ms("0ms"), Ok(0));
        assert_eq!(ms("5ms"), Ok(5));
        assert_eq!(ms("90s"), Ok(90_000));
        assert_eq!(ms("5m"), Ok(300_000));
        assert_eq!(ms("24h"), Ok(86_400_000));
        assert_eq!(ms("3d"), Ok(259_200_000));
        assert_eq!(ms("3650d"), Ok(LONGEST_MS));
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "5",
            "h",
            "-5m",
            "+5m",
            "1.5h",
            "5 m",
            " 5m",
            "5M",
            "5min",
            "1h30m",
            "3651d",
            "5µ",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert_eq!(parse(text), Err(NotADuration), "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["0ms", "5ms", "90s", "5m", "25h", "3d", "1001ms"] {
            assert_eq!(parse(text).map(super::text), Ok(text.to_owned()));
        }
        assert_eq!(text(Duration::from_secs(86_400)), "1d");
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
