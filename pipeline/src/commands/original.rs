//! What refunds and replies are about, as it stands in the log. What is not there, or was let go of,
//! stays empty, and deduct refuses.

use crate::data_dir::DataDir;
use crate::deliver::{Message, message_at, published_charges};
use crate::error::JobError;
use crate::explain::{Stretch, Wanted, cut_before, scan};
use crate::generations::{Cuts, Registry};
use crate::log::{EmbeddedLog, Log};
use std::sync::Arc;
use weir_operators::partition;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self, Original};
use weir_proto::{
    Adjustment, Charge, ChargeRef, Currency, EntryKind, Guid, MessageId, Nanos, Outcome, Record, StageId,
    TaskId, Topic, TopicId,
};

/// Looks into the log of a job.
pub struct Originals {
    /// Where its checkpoints are.
    pub dir: DataDir,
    /// The generations.
    pub registry: Arc<Registry>,
    /// The log.
    pub log: Arc<EmbeddedLog>,
}

/// Part of the published charges of a partition: those of one generation.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where they stand.
    pub topic: TopicId,
    /// The first of them.
    pub from: u64,
    /// The offset behind the last of them.
    pub to: u64,
}

/// The charges of a partition that count: those of the newest generation first, of each one before up to
/// the cut at which it was left.
pub fn published_parts(registry: &Registry, log: &dyn Log, partition: u32) -> Vec<Part> {
    let task = TaskId { stage: StageId::Deduct, partition: partition as u16 };
    let mut id = registry.ends_generation(registry.published(), StageId::Deduct);
    let (mut parts, mut until) = (Vec::new(), u64::MAX);
    loop {
        let topic = Topic::Charges.of(id);
        let (start, end) = (log.start(topic, partition), log.high_watermark(topic, partition));
        parts.push(Part { topic, from: start, to: end.min(until).max(start) });
        let cut = registry.cut(id);
        let Some(before) = cut.of(task).filter(|_| id > 1) else { return parts };
        (id, until) = (before.task.generation, before.mark(Topic::Charges, partition).offset);
    }
}

impl Originals {
    /// Fills in what only the log can tell; what the sender said of it is taken for a hint at most.
    pub(super) fn fill(&self, command: &mut rpc::Command) -> Result<(), JobError> {
        match &mut command.action {
            Some(Action::Refund(refund)) => {
                let hint = refund.original.take().and_then(|said| MessageId::parse(&said.id));
                if let Some(guid) = Guid::parse(&refund.guid) {
                    refund.original = self.of_guid(command.advertiser_id, guid, hint)?;
                }
            }
            Some(Action::Reply(reply)) => {
                reply.original = None;
                let found = match MessageId::parse(&reply.message_id) {
                    Some(id) => self.of_message(&id)?,
                    None => return Ok(()),
                };
                match found {
                    Some((own, found)) if command.advertiser_id == 0 || command.advertiser_id == own => {
                        (command.advertiser_id, reply.original) = (own, Some(found));
                    }
                    None if command.advertiser_id == 0 => {
                        return Err(JobError::Invalid(format!(
                            "there is no message {}, or the log has let go of it: its advertiser_id cannot be \
                             found out and has to be said",
                            reply.message_id
                        )));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
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
        let parts = published_parts(&self.registry, &*self.log, partition);
        if let Some(id) = hint.filter(|id| id.partition == partition && parts.iter().any(|p| p.holds(id)))
            && let Some(message) = message_at(&self.log, &id)?
            && is_it(&Record::decode(&message.bytes)?)
        {
            return original(&message);
        }
        let published = self.registry.ends_generation(self.registry.published(), StageId::Deduct);
        let cut = cut_before(&Cuts::of(&self.dir, &self.registry, published), guid)?;
        let task = TaskId { stage: StageId::Deduct, partition: partition as u16 };
        let before = cut
            .as_ref()
            .and_then(|cut| cut.of(task))
            .map(|m| (m.task.generation, m.mark(Topic::Charges, partition).offset));
        let (mut likely, mut rest) = (Vec::new(), Vec::new());
        for part in parts {
            match before {
                Some((generation, _)) if part.topic.generation < generation => rest.push(part),
                Some((generation, offset)) if part.topic.generation == generation => {
                    let at = offset.clamp(part.from, part.to);
                    rest.push(Part { to: at, ..part });
                    likely.push(Part { from: at, ..part });
                }
                _ => likely.push(part),
            }
        }
        for part in likely.iter().chain(&rest) {
            let stretch =
                Stretch { topic: part.topic, partition, from: part.from, to: part.to, of: Some(task) };
            let found = scan(&*self.log, &stretch, &wanted.bytes(), &is_it, &mut |_| {})?;
            if let Some(hit) = found.first()
                && let Record::Charge(charge) = hit.record()?
            {
                let id = MessageId { topic: part.topic, partition, offset: hit.offset };
                return of_charge(&id, &charge).map(Some);
            }
        }
        Ok(None)
    }

    /// Whose a message is, and what it is about.
    fn of_message(&self, id: &MessageId) -> Result<Option<(u64, Original)>, JobError> {
        let Some(message) = self.message(id)? else { return Ok(None) };
        let found = match Record::decode(&message.bytes)? {
            Record::Charge(charge) => (charge.advertiser_id, of_charge(id, &charge)?),
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

impl Part {
    fn holds(&self, id: &MessageId) -> bool {
        self.topic == id.topic && (self.from..self.to).contains(&id.offset)
    }
}

/// Whether a charge of this kind is one that can be given back.
pub fn can_be_refunded(kind: EntryKind) -> bool {
    use EntryKind::{Action, Click, Impression, Period, Sale};
    matches!(kind, Click | Impression | Action | Sale | Period)
}

fn original(message: &Message) -> Result<Option<Original>, JobError> {
    match Record::decode(&message.bytes)? {
        Record::Charge(charge) => of_charge(&message.id, &charge).map(Some),
        _ => Ok(None),
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
