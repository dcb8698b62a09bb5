//! What refunds and replies are about, as it stands in the log. What is not there, or was let go of,
//! stays empty, and deduct refuses.

use super::parts::{Part, can_be_refunded, likely_first, published_parts};
use crate::data_dir::DataDir;
use crate::deliver::{Message, message_at, published_charges};
use crate::error::JobError;
use crate::explain::{Stretch, Wanted, cut_before, scan};
use crate::generations::{Cuts, Registry};
use crate::log::LiveLog;
use std::sync::Arc;
use weir_operators::partition;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self, Original};
use weir_proto::{
    Adjustment, Charge, ChargeRef, Currency, Guid, MessageId, Nanos, Outcome, Record, StageId, TaskId, Topic,
};

/// Looks into the log of a job.
pub struct Originals {
    /// Where its checkpoints are.
    pub dir: DataDir,
    /// The generations.
    pub registry: Arc<Registry>,
    /// The log.
    pub log: Arc<dyn LiveLog>,
}

impl Originals {
    /// Fills in what only the log can tell; what the sender said of it is taken for a hint at most.
    pub(super) fn fill(&self, command: &mut rpc::Command) -> Result<(), JobError> {
        let advertiser = &mut command.advertiser_id;
        match &mut command.action {
            Some(Action::Refund(refund)) => self.fill_refund(*advertiser, refund),
            Some(Action::Reply(reply)) => self.fill_reply(advertiser, reply),
            _ => Ok(()),
        }
    }

    fn fill_refund(&self, advertiser: u64, refund: &mut rpc::Refund) -> Result<(), JobError> {
        let hint = refund.original.take().and_then(|said| MessageId::parse(&said.id));
        if let Some(guid) = Guid::parse(&refund.guid) {
            refund.original = self.of_guid(advertiser, guid, hint)?;
        }
        Ok(())
    }

    /// A reply may leave it to the log whose message it is about.
    fn fill_reply(&self, advertiser: &mut u64, reply: &mut rpc::Reply) -> Result<(), JobError> {
        reply.original = None;
        let Some(id) = MessageId::parse(&reply.message_id) else { return Ok(()) };
        match self.of_message(&id)? {
            Some((own, found)) if *advertiser == 0 || *advertiser == own => {
                (*advertiser, reply.original) = (own, Some(found));
                Ok(())
            }
            None if *advertiser == 0 => Err(JobError::Invalid(format!(
                "there is no message {id}, or the log has let go of it: whose it was has to be said with \
                 advertiser_id"
            ))),
            _ => Ok(()),
        }
    }

    /// The charge of an event or of a period, in the published line.
    fn of_guid(
        &self,
        advertiser_id: u64,
        guid: Guid<'_>,
        hint: Option<MessageId>,
    ) -> Result<Option<Original>, JobError> {
        let wanted = Wanted { guid, advertiser: Some(advertiser_id) };
        let is_it =
            |r: &Record<'_>| wanted.is(r) && matches!(r, Record::Charge(c) if can_be_refunded(c.kind));
        let partition = partition::by_advertiser(advertiser_id, self.dir.partitions());
        for generation in self.registry.ancestors(self.registry.published()) {
            self.log.add(Topic::Charges.of(self.registry.runs(generation, StageId::Deduct)))?;
        }
        let parts = published_parts(&self.registry, &*self.log, partition)?;
        if let Some(id) = hint.filter(|id| id.partition == partition && parts.iter().any(|p| p.holds(id)))
            && let Some(message) = message_at(&self.log, &id)?
            && let record = Record::decode(&message.bytes)?
            && is_it(&record)
            && let Record::Charge(charge) = record
        {
            return of_charge(&id, &charge).map(Some);
        }
        let task = TaskId { stage: StageId::Deduct, partition: partition as u16 };
        let published = self.registry.ends_generation(self.registry.published(), StageId::Deduct);
        let cut = cut_before(&Cuts::of(&self.dir, &self.registry, published), guid)?;
        for part in likely_first(parts, cut.as_ref().and_then(|cut| cut.of(task)), partition) {
            let Part { topic, from, to } = part;
            let stretch = Stretch { topic, partition, from, to, of: Some(task) };
            let found = scan(&*self.log, &stretch, &wanted.bytes(), &is_it, &mut |_| {})?;
            if let Some(hit) = found.first()
                && let Record::Charge(charge) = hit.record()?
            {
                let id = MessageId { topic, partition, offset: hit.offset };
                return of_charge(&id, &charge).map(Some);
            }
        }
        Ok(None)
    }

    /// Whose a message is, and what it is about.
    fn of_message(&self, id: &MessageId) -> Result<Option<(u64, Original)>, JobError> {
        let Some(message) = self.message(id)? else { return Ok(None) };
        let found = match Record::decode(&message.bytes)? {
            Record::Charge(charge) => {
                let mut original = of_charge(id, &charge)?;
                if !can_be_refunded(charge.kind) {
                    original.amount = None;
                }
                (charge.advertiser_id, original)
            }
            Record::Adjustment(adjustment) => {
                (adjustment.advertiser_id, self.of_adjustment(id, &adjustment)?)
            }
            _ => return Ok(None),
        };
        Ok(Some(found))
    }

    fn message(&self, id: &MessageId) -> Result<Option<Message>, JobError> {
        let charges = |generation| published_charges(&self.registry).iter().any(|(g, _)| *g == generation);
        let is_sent = match id.topic.topic {
            Topic::Charges => charges(id.topic.generation),
            Topic::Adjustments => id.topic.generation == 1,
            _ => false,
        };
        if !is_sent || id.partition >= self.dir.partitions() {
            return Ok(None);
        }
        self.log.add(id.topic)?;
        message_at(&self.log, id)
    }

    fn of_adjustment(&self, id: &MessageId, adjustment: &Adjustment<'_>) -> Result<Original, JobError> {
        let mut original = Original {
            id: id.to_string(),
            event_time_ms: adjustment.event_time_ms,
            guid: adjustment.guid.to_string(),
            ..Original::default()
        };
        // An adjustment has the currency and the ad of what it adjusts.
        let mut currency = Currency::default();
        for ChargeRef { generation, offset } in [adjustment.new, adjustment.original] {
            let at =
                MessageId { topic: Topic::Charges.of(generation), partition: adjustment.partition, offset };
            if let Some(message) = self.message(&at)?
                && let Record::Charge(charge) = Record::decode(&message.bytes)?
            {
                currency = charge.currency;
                (original.ad_id, original.campaign_id) = (charge.ad_id, charge.campaign_id);
                break;
            }
        }
        original.amount = Some(adjustment.after.checked_sub(adjustment.before)?.to_wire(currency)?);
        Ok(original)
    }
}

fn of_charge(id: &MessageId, charge: &Charge<'_>) -> Result<Original, JobError> {
    let amount: Option<Nanos> = (charge.outcome == Outcome::Charged).then_some(charge.amount);
    Ok(Original {
        id: id.to_string(),
        amount: amount.map(|amount| amount.to_wire(charge.currency)).transpose()?,
        event_time_ms: charge.event_time_ms,
        ad_id: charge.ad_id,
        campaign_id: charge.campaign_id,
        guid: charge.guid.to_string(),
    })
}
