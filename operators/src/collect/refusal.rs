//! Why an event is not taken.

use weir_proto::DropReason;

/// An event cannot be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: DropReason,
    /// The field at fault, where it is known to be one.
    pub field: Option<&'static str>,
    /// What is wrong, for people.
    pub message: String,
}

/// The fields of a line.
const FIELDS: [&str; 24] = [
    "guid",
    "event_time_ms",
    "kind",
    "user_id",
    "ip",
    "ua",
    "ad_id",
    "campaign_id",
    "advertiser_id",
    "slot",
    "region",
    "channel",
    "app_version",
    "bid_micros",
    "billing",
    "currency",
    "click_guid",
    "sale_guid",
    "sale_micros",
    "bid_id",
    "imp_id",
    "auction_price",
    "auction_multiplier",
    "credential",
];

impl Refusal {
    /// The JSON of a line is broken or of the wrong types.
    pub(super) fn json(line: &[u8], error: &sonic_rs::Error) -> Self {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or("not a JSON object").to_owned();
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let field = match missing {
            Some(name) => known(name.as_bytes()),
            None => key_before(line, error.offset()),
        };
        Refusal { reason: DropReason::Malformed, field, message }
    }
}

pub(super) fn malformed(message: String) -> Refusal {
    Refusal { reason: DropReason::Malformed, field: None, message }
}

pub(super) fn wrong(field: &'static str, message: String) -> Refusal {
    Refusal { reason: DropReason::Malformed, field: Some(field), message }
}

fn known(name: &[u8]) -> Option<&'static str> {
    FIELDS.into_iter().find(|field| field.as_bytes() == name)
}

/// The field whose value stands at an offset: that of the last key of the line itself before it, not of what is in it.
fn key_before(line: &[u8], offset: usize) -> Option<&'static str> {
    let (mut depth, mut text_from, mut escaped) = (0i32, None, false);
    let (mut text, mut key) = (&line[..0], None);
    for (at, byte) in line[..offset.min(line.len())].iter().enumerate() {
        match (text_from, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(from), b'"') => (text, text_from) = (&line[from..at], None),
            (Some(_), _) => {}
            (None, b'"') => text_from = Some(at + 1),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => depth -= 1,
            (None, b':') if depth == 1 => key = Some(text),
            (None, _) => {}
        }
    }
    key.and_then(known)
}
