//! Anti-fraud: rules per user, one verdict per event. A guid keeps its first verdict, and is counted
//! once however often it is sent.
//!
//! Checks, in this order: too late, a verdict given before, then the three rules; the first one that
//! is exceeded names the reason. An event counts in all windows, whichever rule drops it, so that
//! counts do not depend on the order of arrival. What a server reports is no doing of the user's: only its
//! age is looked at.

use crate::anti_brush::count_up;
use crate::outbox::Outbox;
use crate::partition;
use crate::rules::Rules;
use crate::{Operator, OperatorError, unexpected};
use std::sync::Arc;
use weir_proto::{DropReason, Event, EventKind, Minute, Record, StageId, pair_key, user_key};
use weir_state::{Commit, Identity, IdentityTable, MinuteTable, StateError, Store};

const VERDICTS: u8 = 1;
const VERDICTS_UNTIMED: u8 = 2;
const USERS: u8 = 3;
const USER_ADS: u8 = 4;
const PASSED: u8 = 0;
const TEN_SECONDS_MS: u64 = 10_000;

/// The operator.
pub struct AntiFraud {
    rules: Arc<Rules>,
    now: Minute,
    verdicts: IdentityTable,
    /// Per minute and user: clicks, then different ads in each ten seconds (seven counters of u16).
    users: MinuteTable<16, 14>,
    /// Per minute and (user, ad): events (u16), then a bit for each ten seconds in which it counted.
    user_ads: MinuteTable<16, 3>,
}

impl AntiFraud {
    /// Loads the operator's state.
    pub fn load(store: &Store, rules: Arc<Rules>, now: Minute) -> Result<Self, StateError> {
        let mut this = AntiFraud {
            now,
            verdicts: IdentityTable::load(store, VERDICTS, VERDICTS_UNTIMED, rules.identities())?,
            users: MinuteTable::load(store, USERS, rules.windows())?,
            user_ads: MinuteTable::load(store, USER_ADS, rules.windows())?,
            rules,
        };
        this.enter(now);
        Ok(this)
    }

    fn enter(&mut self, now: Minute) {
        self.now = now;
        self.verdicts.tick(now);
        self.users.tick(now);
        self.user_ads.tick(now);
    }

    fn judge(&mut self, store: &Store, event: &Event<'_>) -> Result<Option<DropReason>, StateError> {
        let minute = Minute::of_ms(event.event_time_ms());
        if minute < self.now.minus(self.rules.allowed_lateness) {
            return Ok(Some(DropReason::TooLate));
        }
        if event.is_reported() {
            return Ok(None);
        }
        let id = Identity { advertiser_id: event.advertiser_id(), guid: event.guid(), minute };
        if let Some(verdict) = self.verdicts.get(store, &id)? {
            return Ok(DropReason::from_code(verdict));
        }
        let verdict = self.count(store, event, minute)?;
        #[cfg(feature = "sabotage")]
        let verdict = verdict.or(weir_state::sabotage::is_batch_seen().then_some(DropReason::UserAdRate));
        self.verdicts.insert(store, &id, verdict.map_or(PASSED, |r| r as u8))?;
        Ok(verdict)
    }

    fn count(
        &mut self,
        store: &Store,
        event: &Event<'_>,
        minute: Minute,
    ) -> Result<Option<DropReason>, StateError> {
        let rules = &self.rules;
        let user = user_key(event.user_bytes());
        let tenth = ((event.event_time_ms() % Minute::MILLIS) / TEN_SECONDS_MS) as usize;
        let key = pair_key(&user, event.ad_id());
        let mut counted = false;
        let user_ad = self.user_ads.slot(store, minute, &key)?;
        let ad_rate = self.user_ads.change(user_ad, |value| {
            let [low, high, tenths] = *value;
            let mut count = [low, high];
            let above = count_up(&mut count, rules.max_user_ad_minute);
            counted = tenths & (1 << tenth) != 0;
            *value = [count[0], count[1], tenths];
            above
        });
        let (click_rate, spread) = self.users.update(store, minute, &user, |value| {
            let mut counter = |which: usize, limit: u16| {
                let mut count = [value[2 * which], value[2 * which + 1]];
                let above = count_up(&mut count, limit);
                if which == 0 || !above {
                    value[2 * which..2 * which + 2].copy_from_slice(&count);
                }
                above
            };
            let click_rate = event.kind() == EventKind::Click && counter(0, rules.max_user_clicks_minute);
            let spread = !counted && counter(1 + tenth, rules.max_user_ads_10s);
            (click_rate, spread)
        })?;
        if !counted && !spread {
            // The ad is now one of the user's ads in these ten seconds; an excess one never is.
            self.user_ads.change(user_ad, |value| value[2] |= 1 << tenth);
        }
        Ok(match (ad_rate, click_rate, spread) {
            (true, _, _) => Some(DropReason::UserAdRate),
            (_, true, _) => Some(DropReason::UserClickRate),
            (_, _, true) => Some(DropReason::UserAdSpread),
            _ => None,
        })
    }
}

impl Operator for AntiFraud {
    fn fold(&mut self, store: &Store, record: Record<'_>, out: &mut Outbox) -> Result<(), OperatorError> {
        let Record::Event(event) = record else { return Err(unexpected(StageId::AntiFraud, &record)) };
        match self.judge(store, &event)? {
            Some(reason) => out.drop_event(reason, event),
            None => {
                let to = partition::by_advertiser(event.advertiser_id(), out.partitions());
                out.emit(to, &[event.bytes()]);
            }
        }
        Ok(())
    }

    fn tick(&mut self, _: &Store, now: Minute, _: &mut Outbox) -> Result<(), OperatorError> {
        self.enter(now);
        Ok(())
    }

    fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        self.verdicts.stage(store, commit)?;
        self.users.stage(store, commit)?;
        self.user_ads.stage(store, commit)
    }
}
