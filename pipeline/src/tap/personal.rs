//! What a tap shows of people: masks, unless it was told otherwise.

use crate::mask::Mask;
use serde_json::{Value, json};
use weir_proto::{Dropped, Event};

/// How what is personal is shown.
pub enum Personal {
    /// Users and addresses by their masks, text that may hold them not at all.
    Masked(Mask),
    /// As it stands in the topic.
    Plain,
}

impl Personal {
    /// The user of an event.
    pub fn user(&self, event: &Event<'_>) -> String {
        match self {
            Personal::Masked(mask) => mask.user(event.user_id()),
            Personal::Plain => event.user_id().to_owned(),
        }
    }

    /// The address of an event.
    pub fn ip(&self, event: &Event<'_>) -> String {
        match self {
            Personal::Masked(mask) => mask.ip(event.ip()),
            Personal::Plain => event.ip().to_string(),
        }
    }

    /// The line that could not be read.
    pub fn raw(&self, dropped: &Dropped<'_>) -> Value {
        match (dropped.event, self) {
            (Some(_), _) => Value::Null,
            (None, Personal::Masked(_)) => json!(format!("<{} bytes, masked>", dropped.raw.len())),
            (None, Personal::Plain) => json!(String::from_utf8_lossy(dropped.raw)),
        }
    }

    /// What was wrong with it. Complaints quote the line.
    pub fn detail(&self, dropped: &Dropped<'_>) -> Value {
        match (dropped.detail, self) {
            ("", _) => Value::Null,
            (detail, Personal::Plain) => json!(detail),
            (detail, Personal::Masked(_)) => json!(without_quotes(detail)),
        }
    }
}

/// A complaint without what it quotes; the name of a field may stay.
fn without_quotes(detail: &str) -> String {
    const QUOTES: [char; 2] = ['"', '`'];
    if ["missing field", "duplicate field"].iter().any(|about| detail.starts_with(about)) {
        return detail.to_owned();
    }
    match (detail.find(QUOTES), detail.rfind(QUOTES)) {
        (Some(first), Some(last)) if first < last => {
            format!("{}…{}", &detail[..=first], &detail[last..])
        }
        (Some(first), _) => format!("{}…", &detail[..=first]),
        _ => detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_keeps_its_quotes_to_itself() {
        for (detail, shown) in [
            (r#"ip "10.0.0.999" is not an address"#, r#"ip "…" is not an address"#),
            (
                "invalid type: integer `4711`, expected a string",
                "invalid type: integer `…`, expected a string",
            ),
            (r#"kind is "a\"b", not click or impression"#, r#"kind is "…", not click or impression"#),
            (r#"cut off: "4711"#, r#"cut off: "…"#),
            ("missing field `guid` at line 1 column 9", "missing field `guid` at line 1 column 9"),
            ("not a JSON object", "not a JSON object"),
        ] {
            assert_eq!(without_quotes(detail), shown);
        }
    }
}
