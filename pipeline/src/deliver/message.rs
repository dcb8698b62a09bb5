//! A published outcome on its way to the account system.

use crate::tap::{Personal, Row};
use serde::{Deserialize, Serialize};
use weir_proto::{EntryKind, Guid, MessageId, Nanos, Producer, Provenance, Record, RecordError};

/// Amounts are sent in billionths.
const SCALE: u32 = 9;

/// A record as it stands in its topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Where it stands.
    pub id: MessageId,
    /// Who made it.
    pub producer: Producer,
    /// What it was made from.
    pub provenance: Provenance,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a person wants to know of a message.
pub struct About<'a> {
    /// The event.
    pub guid: Guid<'a>,
    /// Whose account.
    pub advertiser_id: u64,
    /// What was charged, or the size of the adjustment; 0 for a refusal.
    pub at_stake: Nanos,
}

/// A message as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its id as text.
    pub id: String,
    /// The JSON object, with its line feed.
    pub json: Vec<u8>,
}

#[derive(Serialize)]
struct WithId<'a> {
    id: &'a str,
    /// What is to be collected, as a count of 10^-scale of the currency unit; negative: to be given back.
    amount: Nanos,
    scale: u32,
    #[serde(flatten)]
    row: Row,
}

impl Message {
    /// Whether it is a balance that an accounts file brought forward, of which the account system knows.
    pub fn is_brought_forward(&self) -> Result<bool, RecordError> {
        Ok(matches!(Record::decode(&self.bytes)?, Record::Charge(c) if c.kind == EntryKind::BroughtForward))
    }

    /// What it is about.
    pub fn about(&self) -> Result<About<'_>, RecordError> {
        Ok(match Record::decode(&self.bytes)? {
            Record::Charge(charge) => {
                About { guid: charge.guid, advertiser_id: charge.advertiser_id, at_stake: charge.taken() }
            }
            Record::Adjustment(adjustment) => About {
                guid: adjustment.guid,
                advertiser_id: adjustment.advertiser_id,
                at_stake: Nanos(
                    adjustment.after.0.abs_diff(adjustment.before.0).min(i128::MAX as u128) as i128
                ),
            },
            _ => {
                let value = self.bytes.first().copied().unwrap_or(0);
                return Err(RecordError::Value { what: "kind of message", value });
            }
        })
    }

    /// As `weir tap` prints it, with its id.
    pub fn line(&self) -> Result<Line, RecordError> {
        let id = self.id.to_string();
        let record = Record::decode(&self.bytes)?;
        // Outcomes tell nothing of users: there is nothing to mask.
        let row = Row::at(&self.id, self.producer, self.provenance, &record, &Personal::Plain);
        // Plain data is always JSON.
        let amount = match &record {
            Record::Charge(charge) => charge.taken(),
            Record::Adjustment(adjustment) => Nanos(adjustment.after.0.saturating_sub(adjustment.before.0)),
            _ => Nanos::ZERO,
        };
        let mut json = serde_json::to_vec(&WithId { id: &id, amount, scale: SCALE, row }).unwrap_or_default();
        json.push(b'\n');
        Ok(Line { id, json })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use weir_proto::{Adjustment, AdjustmentKind, Billing, Charge, ChargeRef, Crossings, Currency};
    use weir_proto::{Outcome, StageId, Topic};

    /// A charge of 5 nanos.
    pub(in crate::deliver) fn charge(offset: u64) -> Message {
        let charge = Charge {
            guid: Guid::Text("abc"),
            outcome: Outcome::Charged,
            kind: EntryKind::Click,
            billing: Some(Billing::Cpc),
            event_time_ms: 1,
            ad_id: 2,
            campaign_id: 3,
            advertiser_id: 4,
            amount: Nanos(5),
            balance_after: Nanos(6),
            crossings: Crossings::default(),
            currency: Currency::default(),
            utc_offset_minutes: 0,
            original: "",
        };
        let (fixed, [guid, _]) = charge.encode();
        message(Topic::Charges, offset, [&fixed[..], guid.as_bytes()].concat())
    }

    fn message(topic: Topic, offset: u64, bytes: Vec<u8>) -> Message {
        Message {
            id: MessageId { topic: topic.of(1), partition: 3, offset },
            producer: Producer { stage: StageId::Deduct, partition: 3, generation: 1 },
            provenance: Provenance { position: 7, index: 0 },
            bytes,
        }
    }

    #[test]
    fn a_line_is_that_of_a_tap_with_an_id() {
        let line = charge(9).line().unwrap();
        let text = String::from_utf8(line.json).unwrap();
        assert!(
            text.starts_with(r#"{"id":"charges/1/3/9","amount":5,"scale":9,"guid":"abc","advertiser_id":4,"#),
            "{text}"
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["amount_nanos"], &value["provenance"]["offset"]), (&5.into(), &9.into()));
        assert_eq!(charge(9).about().unwrap().at_stake, Nanos(5));
    }

    #[test]
    fn a_reversal_is_at_stake_with_its_size() {
        let adjustment = Adjustment {
            kind: AdjustmentKind::Reversal,
            guid: Guid::Ulid(1),
            advertiser_id: 4,
            event_time_ms: 1,
            partition: 3,
            original: ChargeRef { generation: 1, offset: 2 },
            new: ChargeRef::default(),
            before: Nanos(8),
            after: Nanos(0),
            currency: Currency::default(),
        };
        let widest = Adjustment { before: Nanos(i128::MAX), after: Nanos(i128::MIN), ..adjustment };
        let widest = message(Topic::Adjustments, 1, widest.encode().0.to_vec()).line().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&widest.json).unwrap();
        assert_eq!(
            (&value["amount"], &value["amount_nanos"]),
            (&i128::MIN.to_string().into(), &value["amount"])
        );
        let adjustment = message(Topic::Adjustments, 1, adjustment.encode().0.to_vec());
        assert_eq!(adjustment.about().unwrap().at_stake, Nanos(8));
        assert!(adjustment.line().unwrap().json.starts_with(br#"{"id":"adjustments/1/3/1","#));
    }
}
