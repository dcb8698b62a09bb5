//! An outcome as a row: the columns of `weir.entries`, and the accounts it moves money between.

use crate::deliver::Message;
use jiff::Timestamp;
use jiff::civil::Date;
use std::fmt::{Display, Write};
use weir_proto::{Adjustment, Charge, EntryKind, Minute, Nanos, Outcome, Record, RecordError, Topic};

/// The columns of a staged row, in their order.
pub const COLUMNS: &str = "id text, kind text, outcome text, reason text, billing text, guid text, \
    advertiser_id numeric(20), campaign_id numeric(20), ad_id numeric(20), amount numeric(38, 9), currency char(3), \
    balance_after numeric(38, 9), event_time timestamptz, day date, original text, corrects text, debit text, \
    credit text";

/// The accounts that an amount goes between: debit, credit.
#[derive(Debug, PartialEq, Eq)]
struct Legs(String, String);

impl Legs {
    /// What is taken from an advertiser's balance goes to the other account, and back if it is negative.
    fn of(advertiser_id: u64, other: &str, taken: Nanos) -> Option<Self> {
        let (advertiser, other) = (format!("advertiser:{advertiser_id}"), other.to_owned());
        match taken.0.signum() {
            0 => None,
            1 => Some(Legs(advertiser, other)),
            _ => Some(Legs(other, advertiser)),
        }
    }
}

/// The account on the other side of the advertiser's.
fn other_side(charge: &Charge<'_>) -> &'static str {
    if charge.kind.is_revenue() { "revenue" } else { "cash" }
}

/// Rows in the text format of COPY.
#[derive(Default)]
pub struct Rows {
    text: String,
    count: usize,
}

impl Rows {
    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The bytes to copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    /// Adds an outcome. An adjustment does not tell its campaign: `concerned` is the outcome that it is
    /// about, if it is still there.
    pub fn push(&mut self, message: &Message, concerned: Option<&Message>) -> Result<(), RecordError> {
        let about = concerned.map(|m| Record::decode(&m.bytes)).transpose()?;
        let about = match &about {
            Some(Record::Charge(charge)) => Some(charge),
            _ => None,
        };
        match Record::decode(&message.bytes)? {
            Record::Charge(charge) => self.charge(message, &charge),
            Record::Adjustment(adjustment) => self.adjustment(message, &adjustment, about),
            _ => {
                let value = message.bytes.first().copied().unwrap_or(0);
                return Err(RecordError::Value { what: "kind of message", value });
            }
        }
        self.count += 1;
        Ok(())
    }

    fn charge(&mut self, message: &Message, charge: &Charge<'_>) {
        let (outcome, reason) = match charge.outcome {
            Outcome::Charged => ("charged", None),
            Outcome::Refused(reason) => ("refused", Some(reason.name())),
        };
        self.head(message, charge.kind.name(), outcome, reason);
        self.some(charge.billing.map(|billing| billing.name()));
        self.value(charge.guid);
        self.value(charge.advertiser_id);
        self.some(Some(charge.campaign_id).filter(|id| *id > 0 || charge.kind == EntryKind::Period));
        self.some(Some(charge.ad_id).filter(|id| *id > 0));
        self.value(charge.amount);
        self.value(charge.currency);
        self.value(charge.balance_after);
        self.value(time(charge.event_time_ms));
        self.value(date(charge.day()));
        self.some(Some(charge.original).filter(|guid| !guid.is_empty()));
        self.some(None::<&str>);
        self.legs(Legs::of(charge.advertiser_id, other_side(charge), charge.taken()));
    }

    fn adjustment(&mut self, message: &Message, adjustment: &Adjustment<'_>, about: Option<&Charge<'_>>) {
        // Prices are far from the limits; at them, the column would refuse the amount.
        let amount = Nanos(adjustment.after.0.saturating_sub(adjustment.before.0));
        let original = adjustment.original;
        let corrects = (original.generation > 0).then(|| {
            let topic = Topic::Charges.of(original.generation);
            weir_proto::MessageId { topic, partition: adjustment.partition, offset: original.offset }
        });
        self.head(message, "adjustment", "adjusted", Some(adjustment.kind.name()));
        self.some(about.and_then(|c| c.billing).map(|billing| billing.name()));
        self.value(adjustment.guid);
        self.value(adjustment.advertiser_id);
        self.some(about.map(|c| c.campaign_id));
        self.some(about.map(|c| c.ad_id));
        self.value(amount);
        self.value(adjustment.currency);
        self.some(None::<&str>);
        self.value(time(adjustment.event_time_ms));
        let utc = Minute::of_ms(adjustment.event_time_ms).day();
        self.value(date(about.map_or(utc, |c| c.day())));
        self.some(about.map(|c| c.original).filter(|guid| !guid.is_empty()));
        self.some(corrects);
        self.legs(Legs::of(adjustment.advertiser_id, about.map_or("revenue", other_side), amount));
    }

    fn head(&mut self, message: &Message, kind: &str, outcome: &str, reason: Option<&str>) {
        self.value(message.id);
        self.value(kind);
        self.value(outcome);
        self.some(reason);
    }

    fn legs(&mut self, legs: Option<Legs>) {
        let (debit, credit) = legs.map_or((None, None), |Legs(debit, credit)| (Some(debit), Some(credit)));
        self.some(debit);
        self.some(credit);
        self.text.pop();
        self.text.push('\n');
    }

    fn some(&mut self, value: Option<impl Display>) {
        match value {
            Some(value) => self.value(value),
            None => self.text.push_str("\\N\t"),
        }
    }

    fn value(&mut self, value: impl Display) {
        // Writing into memory cannot fail.
        let _ = write!(Escaped(&mut self.text), "{value}");
        self.text.push('\t');
    }
}

/// Escapes what COPY would take for its own. PostgreSQL keeps no NUL in a text: the sign for it stands there.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '\t' => self.0.push_str("\\t"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\0' => self.0.push('\u{2400}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

fn time(ms: u64) -> Timestamp {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(Timestamp::MAX)
}

fn date(days: u32) -> Date {
    let days = jiff::Span::new().try_days(days);
    days.and_then(|days| Date::constant(1970, 1, 1).checked_add(days)).unwrap_or(Date::MAX)
}
