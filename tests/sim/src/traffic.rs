//! What comes in: lines of log files and commands, a few hundred, made to compete for little money.

use crate::rng::Rng;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::reply::Status;
use weir_proto::rpc::{self, Money};
use weir_proto::{Currency, Guid, Nanos};

/// 2026-01-01T09:59:30Z.
pub const T0: u64 = 1_767_261_570_000;

/// Something that comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// A whole line of a log file; so many of its bytes are written first.
    Line { text: String, torn_at: usize },
    /// A command as it is.
    Command(rpc::Command),
    /// A refund of the event of this guid, all of it or a part, once it is known to be charged.
    Refund { advertiser_id: u64, guid: String, key: String, is_part: bool },
    /// What the account system says of the charge of this guid, once it is known to be charged.
    Reply { advertiser_id: u64, guid: String, key: String, status: Status },
}

/// Something that comes in at a time, in ms since the epoch.
#[derive(Clone, Debug)]
pub struct Timed {
    /// When.
    pub at_ms: u64,
    /// What.
    pub input: Input,
}

/// An event of which later ones may be about.
struct Sent {
    advertiser_id: u64,
    campaign_id: u64,
    guid: String,
    kind: &'static str,
    billing: &'static str,
    text: String,
}

struct Maker {
    rng: Rng,
    sent: Vec<Sent>,
    inputs: Vec<Timed>,
    keys: u32,
}

const CAMPAIGN_CPA: u64 = 7;
const CAMPAIGN_CPS: u64 = 8;
const CAMPAIGN_CPT: u64 = 9;

/// The inputs of a seed, in the order of their times.
pub fn plan(seed: u64) -> Vec<Timed> {
    let mut rng = Rng::new(seed, 2);
    let (lines, minutes) = (rng.between(40, 260), rng.between(2, 7));
    let mut maker = Maker { rng, sent: Vec::new(), inputs: Vec::new(), keys: 0 };
    maker.accounts();
    for _ in 0..lines {
        let at_ms = T0 + maker.rng.below(minutes * 60_000);
        maker.line(at_ms);
        if maker.rng.percent(12) {
            let later = maker.rng.below(60_000);
            maker.command(at_ms + later);
        }
    }
    maker.inputs.sort_by_key(|t| t.at_ms);
    maker.inputs
}

fn money(nanos: i128) -> Option<Money> {
    Nanos(nanos).to_wire(Currency::default()).ok()
}

impl Maker {
    fn key(&mut self) -> String {
        self.keys += 1;
        format!("k-{}", self.keys)
    }

    fn advertiser(&mut self) -> u64 {
        self.rng.between(1, 4)
    }

    fn push(&mut self, at_ms: u64, advertiser_id: u64, action: Action) {
        let key = self.key();
        let command = rpc::Command { key, advertiser_id, time_ms: at_ms, action: Some(action) };
        self.inputs.push(Timed { at_ms, input: Input::Command(command) });
    }

    /// Three accounts of four, with little money and sometimes a budget, and their campaigns.
    fn accounts(&mut self) {
        for advertiser_id in 1..=3 {
            let cents = i128::from(self.rng.between(0, 600)) * 10_000_000;
            let budget = self.rng.percent(40).then(|| i128::from(self.rng.between(10, 300)) * 10_000_000);
            let open = rpc::OpenAccount {
                balance: money(cents),
                daily_budget: budget.and_then(money),
                low_balance: money(cents / 3).into_iter().collect(),
                ..rpc::OpenAccount::default()
            };
            let at = T0 + self.rng.below(3_000);
            self.push(at, advertiser_id, Action::Open(open));
            for campaign in [CAMPAIGN_CPA, CAMPAIGN_CPS, CAMPAIGN_CPT] {
                if self.rng.percent(35) {
                    let campaign = self.campaign(campaign);
                    self.push(at + 1, advertiser_id, Action::Campaign(campaign));
                }
            }
        }
    }

    fn campaign(&mut self, campaign_id: u64) -> rpc::Campaign {
        let mut campaign = rpc::Campaign { campaign_id, ..rpc::Campaign::default() };
        match campaign_id {
            CAMPAIGN_CPA => {
                (campaign.billing, campaign.price) = ("cpa".to_owned(), money(150_000_000));
            }
            CAMPAIGN_CPS => (campaign.billing, campaign.basis_points) = ("cps".to_owned(), 333),
            _ => {
                (campaign.billing, campaign.price) = ("cpt".to_owned(), money(1_000_000_001));
                (campaign.starts_ms, campaign.ends_ms) = (T0 + 60_000, T0 + 7 * 60_000);
            }
        }
        campaign
    }

    fn command(&mut self, at_ms: u64) {
        let advertiser_id = self.advertiser();
        let cents = i128::from(self.rng.between(1, 200)) * 10_000_000;
        let amount = money(cents).unwrap_or_default();
        let target = self.rng.at(self.sent.len());
        let about = self.sent.get(target).map(|s| (s.advertiser_id, s.guid.clone()));
        match (self.rng.below(10), about) {
            (0..2, _) => self.push(at_ms, advertiser_id, Action::TopUp(amount)),
            (2, _) => self.push(at_ms, advertiser_id, Action::Withdraw(amount)),
            (3, _) => {
                let frozen = self.rng.percent(40);
                self.push(at_ms, advertiser_id, Action::Freeze(rpc::Freeze { frozen }));
            }
            (4..7, Some((advertiser_id, guid))) => {
                let (key, is_part) = (self.key(), self.rng.percent(30));
                let input = Input::Refund { advertiser_id, guid, key, is_part };
                self.inputs.push(Timed { at_ms, input });
            }
            (_, Some((advertiser_id, guid))) => {
                let all = [Status::Accepted, Status::InsufficientFunds, Status::Failed, Status::Reverse];
                let (key, status) = (self.key(), self.rng.pick(&all));
                self.inputs.push(Timed { at_ms, input: Input::Reply { advertiser_id, guid, key, status } });
            }
            _ => {}
        }
    }

    fn line(&mut self, at_ms: u64) {
        let text = match self.rng.below(100) {
            0..3 => ["x", "no line of ours", "{\"guid\":\"half", "[1]"][self.rng.at(4)].to_owned(),
            3..15 if !self.sent.is_empty() => self.sent[self.rng.at(self.sent.len())].text.clone(),
            _ => self.event(at_ms),
        };
        let flood = if self.rng.percent(2) { 6 } else { 0 };
        for _ in 0..=flood {
            let torn_at = if self.rng.percent(8) { self.rng.at(text.len()) } else { 0 };
            self.inputs.push(Timed { at_ms, input: Input::Line { text: text.clone() + "\n", torn_at } });
        }
    }

    fn guid(&mut self, time_ms: u64) -> String {
        let number = self.sent.len() as u128;
        match self.rng.percent(60) {
            true => Guid::Ulid(u128::from(time_ms) << 80 | number << 8).to_string(),
            false => format!("g-{number}"),
        }
    }

    fn event(&mut self, at_ms: u64) -> String {
        let late = match self.rng.below(20) {
            0 => 25 * 3_600_000,
            1 => self.rng.below(5 * 3_600_000),
            _ => self.rng.below(20_000),
        };
        let time_ms = at_ms - late;
        let (kind, billing, campaign_id, origin) = self.kind();
        let advertiser_id = origin.as_ref().map_or_else(|| self.advertiser(), |o| o.0);
        let guid = self.guid(time_ms);
        let (user, ip, ad) = (self.rng.below(5), self.rng.below(4), self.rng.below(3));
        let agent = if self.rng.percent(4) { "Googlebot/2.1" } else { "Mozilla/5.0" };
        let bid = self.rng.between(1, 400) * 1_000;
        let origin = origin.map_or(String::new(), |(_, name, guid, micros)| {
            format!(",\"{name}\":\"{guid}\",\"sale_micros\":{micros}")
        });
        let text = format!(
            "{{\"guid\":\"{guid}\",\"event_time_ms\":{time_ms},\"kind\":\"{kind}\",\"user_id\":\"u{user}\",\
             \"ip\":\"10.0.0.{ip}\",\"ua\":\"{agent}\",\"ad_id\":{ad},\"campaign_id\":{campaign_id},\
             \"advertiser_id\":{advertiser_id},\"bid_micros\":{bid},\"billing\":\"{billing}\"{origin}}}"
        );
        self.sent.push(Sent { advertiser_id, campaign_id, guid, kind, billing, text: text.clone() });
        text
    }

    /// Kind, billing model, campaign, and what it goes back to: advertiser, field, guid, amount.
    #[allow(clippy::type_complexity)] // four things of one event
    fn kind(&mut self) -> (&'static str, &'static str, u64, Option<(u64, &'static str, String, u64)>) {
        let origin = self.rng.at(self.sent.len());
        match (self.rng.below(20), self.sent.get(origin)) {
            (0..9, _) => ("click", "cpc", 1, None),
            (9..14, _) => ("impression", "cpm", 1, None),
            (14, _) => ("click", "cpa", CAMPAIGN_CPA, None),
            (15..17, _) => ("click", "cps", CAMPAIGN_CPS, None),
            (_, Some(s)) if s.kind == "click" && matches!(s.billing, "cpa" | "cps") => {
                let kind = if s.billing == "cpa" { "action" } else { "sale" };
                let micros = 10_000_000;
                (
                    kind,
                    s.billing,
                    s.campaign_id,
                    Some((s.advertiser_id, "click_guid", s.guid.clone(), micros)),
                )
            }
            (_, Some(s)) if s.kind == "sale" => {
                let from = (s.advertiser_id, "sale_guid", s.guid.clone(), 4_000_000);
                ("sale_reversal", "cps", s.campaign_id, Some(from))
            }
            _ => ("click", "cpc", 1, None),
        }
    }
}
