//! The accounts and campaigns of a deduct task, and how money moves in them: whole amounts or nothing.

use super::account::Account;
use super::campaign::Campaign;
use crate::billing::Terms;
use hashbrown::{HashMap, HashSet};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use weir_proto::{Charge, Crossings, Minute, MoneyError, Nanos, Outcome, RefuseReason};
use weir_state::versioned::{self, ById};
use weir_state::{Commit, StateError, Store};

/// Accounts by advertiser.
pub const ACCOUNTS: ById = ById { table: 3, version: 3, what: "an account" };
/// Campaigns by advertiser and campaign, both as big-endian u64.
const CAMPAIGNS: u8 = 4;
const CAMPAIGN_VERSION: u8 = 2;
const CAMPAIGN: &str = "a campaign";

/// Which campaign of which advertiser.
pub type CampaignId = (u64, u64);

/// The time zone of a name, by the rules that are built in, so that all machines agree; UTC if it is empty.
pub fn zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() {
        return Some(TimeZone::UTC);
    }
    jiff::tz::TimeZoneDatabase::bundled().get(name).ok()
}

/// Accounts and campaigns.
pub struct Books {
    accounts: HashMap<u64, Account>,
    touched: HashSet<u64>,
    campaigns: HashMap<CampaignId, Campaign>,
    touched_campaigns: HashSet<CampaignId>,
    /// Those that are charged by time.
    by_time: BTreeSet<CampaignId>,
    zones: HashMap<String, TimeZone>,
}

impl Books {
    /// Those of a store.
    pub fn load(store: &Store) -> Result<Self, StateError> {
        let campaigns = campaigns(store)?;
        Ok(Books {
            accounts: ACCOUNTS.load(store)?,
            touched: HashSet::new(),
            by_time: campaigns.iter().filter(|(_, c)| c.accrues()).map(|(id, _)| *id).collect(),
            campaigns,
            touched_campaigns: HashSet::new(),
            zones: HashMap::new(),
        })
    }

    /// An advertiser's account.
    pub fn account(&self, advertiser_id: u64) -> Option<&Account> {
        self.accounts.get(&advertiser_id)
    }

    /// An advertiser's account, to be changed.
    pub fn account_mut(&mut self, advertiser_id: u64) -> Option<&mut Account> {
        let account = self.accounts.get_mut(&advertiser_id);
        if account.is_some() {
            self.touched.insert(advertiser_id);
        }
        account
    }

    /// Opens an account.
    pub fn open(&mut self, advertiser_id: u64, account: Account) {
        self.accounts.insert(advertiser_id, account);
        self.touched.insert(advertiser_id);
    }

    /// A campaign that was set up.
    pub fn campaign(&self, id: CampaignId) -> Option<&Campaign> {
        self.campaigns.get(&id)
    }

    /// A campaign, to be changed; it is new if it was not set up.
    pub fn campaign_mut(&mut self, id: CampaignId) -> &mut Campaign {
        self.touched_campaigns.insert(id);
        self.campaigns.entry(id).or_default()
    }

    /// Sets a campaign up, or changes it.
    pub fn set_up(&mut self, id: CampaignId, terms: Terms) {
        if let Some(account) = self.account_mut(id.0) {
            account.has_campaigns = true;
        }
        self.campaign_mut(id).set(terms);
        match self.campaigns.get(&id).is_some_and(Campaign::accrues) {
            true => self.by_time.insert(id),
            false => self.by_time.remove(&id),
        };
    }

    /// The campaigns that are charged by time, in order.
    pub fn by_time(&self) -> Vec<CampaignId> {
        self.by_time.iter().copied().collect()
    }

    /// The clock of an account: its time zone.
    pub fn zone_of(&mut self, advertiser_id: u64) -> TimeZone {
        let name = self.accounts.get(&advertiser_id).map_or("", |a| a.time_zone.as_str());
        zone_of_name(&mut self.zones, name).clone()
    }

    /// How far an account's clock is ahead of UTC at a time, in minutes.
    pub fn utc_offset(&mut self, advertiser_id: u64, time_ms: u64) -> i16 {
        let account = self.accounts.get(&advertiser_id);
        account.map_or(0, |account| utc_offset(&mut self.zones, &account.time_zone, time_ms))
    }

    /// Decides a charge: fills in outcome, currency, balance and crossings, and takes the amount if it is
    /// charged. `refused` says what speaks against it already.
    pub fn charge(
        &mut self,
        charge: &mut Charge<'_>,
        refused: Option<RefuseReason>,
    ) -> Result<(), MoneyError> {
        let (advertiser_id, amount) = (charge.advertiser_id, charge.amount);
        let Some(account) = self.accounts.get_mut(&advertiser_id) else {
            charge.utc_offset_minutes = 0;
            charge.outcome = Outcome::Refused(RefuseReason::UnknownAccount);
            return Ok(());
        };
        charge.utc_offset_minutes = utc_offset(&mut self.zones, &account.time_zone, charge.event_time_ms);
        let day = charge.day();
        let id = (advertiser_id, charge.campaign_id);
        let mut campaign = if account.has_campaigns { self.campaigns.get_mut(&id) } else { None };
        charge.outcome = match (refused, account.check(amount, day)?, &campaign) {
            (Some(reason), _, _) => Outcome::Refused(reason),
            (None, Outcome::Charged, Some(campaign)) => campaign.check(amount, day)?,
            (None, outcome, _) => outcome,
        };
        let mut crossings = account.charge(charge.outcome, amount, day)?;
        if let Some(campaign) = &mut campaign {
            crossings.add(campaign.charge(charge.outcome, amount, day)?);
            self.touched_campaigns.insert(id);
        }
        (charge.crossings, charge.currency) = (crossings, account.currency);
        charge.balance_after = Nanos(account.balance);
        if charge.outcome == Outcome::Charged || crossings != Crossings::default() {
            self.touched.insert(advertiser_id);
        }
        Ok(())
    }

    /// Lets go of what belongs to days before the day of a minute.
    pub fn forget_before(&mut self, minute: Minute) {
        // Clocks are at most a day apart.
        let day = minute.day().saturating_sub(1);
        for (id, account) in &mut self.accounts {
            account.forget_before(day);
            self.touched.insert(*id);
        }
        for (id, campaign) in &mut self.campaigns {
            campaign.forget_before(day);
            self.touched_campaigns.insert(*id);
        }
    }

    /// Adds what changed since the last commit.
    pub fn stage(&mut self, commit: &mut Commit) {
        for id in self.touched.drain() {
            if let Some(account) = self.accounts.get(&id) {
                ACCOUNTS.put(id, account, commit);
            }
        }
        for id in self.touched_campaigns.drain() {
            if let Some(campaign) = self.campaigns.get(&id) {
                commit.put(CAMPAIGNS, &campaign_key(id), &versioned::encode(CAMPAIGN_VERSION, campaign));
            }
        }
    }
}

fn zone_of_name<'a>(zones: &'a mut HashMap<String, TimeZone>, name: &str) -> &'a TimeZone {
    zones.entry_ref(name).or_insert_with(|| zone(name).unwrap_or(TimeZone::UTC))
}

/// How far the clocks of a zone are ahead of UTC at a time, in minutes.
fn utc_offset(zones: &mut HashMap<String, TimeZone>, name: &str, time_ms: u64) -> i16 {
    if name.is_empty() {
        return 0;
    }
    let time = i64::try_from(time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let seconds = time.map_or(0, |time| zone_of_name(zones, name).to_offset(time).seconds());
    i16::try_from(seconds / 60).unwrap_or(0)
}

fn campaign_key((advertiser_id, campaign_id): CampaignId) -> Vec<u8> {
    [advertiser_id.to_be_bytes(), campaign_id.to_be_bytes()].concat()
}

/// Every campaign of a deduct store.
pub fn campaigns(store: &Store) -> Result<HashMap<CampaignId, Campaign>, StateError> {
    let (mut all, mut failed) = (HashMap::new(), None);
    store.scan(CAMPAIGNS, &[], |key, bytes| {
        let id = key.split_first_chunk::<8>().and_then(|(a, rest)| Some((*a, rest.try_into().ok()?)));
        match (id, versioned::decode(store, CAMPAIGN_VERSION, CAMPAIGN, bytes)) {
            (Some((advertiser, campaign)), Ok(found)) => {
                all.insert((u64::from_be_bytes(advertiser), u64::from_be_bytes(campaign)), found);
            }
            (_, Err(error)) => failed = Some(error),
            _ => failed = Some(StateError::Format { path: store.dir().to_owned(), what: CAMPAIGN }),
        }
    })?;
    failed.map_or(Ok(all), Err)
}
