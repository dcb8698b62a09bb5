//! Anti-brush: drops what no advertiser should see in `clean`, by address and user agent.
//!
//! Checks, in this order: too late, bot, data centre, flood. Only what passes the first three counts
//! in the flood window, and there every line counts, repeats too. What a server reports has its own address
//! and user agent: only its age is looked at.

use crate::bots::{BotCache, BotList};
use crate::networks::Networks;
use crate::outbox::Outbox;
use crate::partition;
use crate::rules::Rules;
use crate::{Operator, OperatorError, unexpected};
use std::sync::Arc;
use weir_proto::{DropReason, Event, Minute, Record, StageId, pair_key};
use weir_state::{Commit, MinuteTable, StateError, Store};

const FLOODS: u8 = 1;

/// The lists that all tasks of the stage share.
pub struct Lists {
    /// Known bots.
    pub bots: BotList,
    /// Data centres; empty if the rule is off.
    pub networks: Networks,
}

/// The operator.
pub struct AntiBrush {
    rules: Arc<Rules>,
    lists: Arc<Lists>,
    seen: BotCache,
    now: Minute,
    /// Per minute and (ip, ad): events, counted up to one above the limit.
    floods: MinuteTable<16, 2>,
}

impl AntiBrush {
    /// Loads the operator's state.
    pub fn load(
        store: &Store,
        rules: Arc<Rules>,
        lists: Arc<Lists>,
        now: Minute,
    ) -> Result<Self, StateError> {
        let mut floods = MinuteTable::load(store, FLOODS, rules.windows())?;
        floods.tick(now);
        Ok(AntiBrush { rules, lists, seen: BotCache::default(), now, floods })
    }

    fn judge(&mut self, store: &Store, event: &Event<'_>) -> Result<Option<DropReason>, StateError> {
        let minute = Minute::of_ms(event.event_time_ms());
        if minute < self.now.minus(self.rules.allowed_lateness) {
            return Ok(Some(DropReason::TooLate));
        }
        if event.is_reported() {
            return Ok(None);
        }
        if self.rules.bots && self.seen.is_bot(&self.lists.bots, event.ua_bytes()) {
            return Ok(Some(DropReason::Bot));
        }
        if !self.lists.networks.is_empty() && self.lists.networks.contains(event.ip()) {
            return Ok(Some(DropReason::Datacenter));
        }
        let key = pair_key(&event.ip_bytes(), event.ad_id());
        let limit = self.rules.max_per_ip_ad_minute;
        let flood = self.floods.update(store, minute, &key, |count| count_up(count, limit))?;
        Ok(flood.then_some(DropReason::Flood))
    }
}

/// Adds one to a counter that stops above its limit; whether it is above.
pub(crate) fn count_up(count: &mut [u8; 2], limit: u16) -> bool {
    let n = u16::from_le_bytes(*count).saturating_add(1).min(limit.saturating_add(1));
    *count = n.to_le_bytes();
    n > limit
}

impl Operator for AntiBrush {
    fn fold(&mut self, store: &Store, record: Record<'_>, out: &mut Outbox) -> Result<(), OperatorError> {
        let Record::Event(event) = record else { return Err(unexpected(StageId::AntiBrush, &record)) };
        match self.judge(store, &event)? {
            Some(reason) => out.drop_event(reason, event),
            None => {
                let (fixed, rest) = event.without_ua();
                out.emit(partition::by_user(&event, out.partitions()), &[&fixed, rest]);
            }
        }
        Ok(())
    }

    fn tick(&mut self, _: &Store, now: Minute, _: &mut Outbox) -> Result<(), OperatorError> {
        self.now = now;
        self.floods.tick(now);
        Ok(())
    }

    fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        self.floods.stage(store, commit)
    }
}
