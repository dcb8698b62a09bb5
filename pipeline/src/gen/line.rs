//! One logged event and the line of JSON, sound or broken, that it becomes.

use std::fmt;
use std::io::{self, Write};
use std::net::Ipv4Addr;

use super::random::{hash, pick};

pub(super) const CAMPAIGNS: u8 = 8;
/// Campaigns 0 to 4 of every advertiser bill by the click, the rest by the impression.
pub(super) const CLICK_CAMPAIGNS: u8 = 5;
pub(super) const ADS_PER_CAMPAIGN: u8 = 6;
pub(super) const SLOTS: [&str; 10] = [
    "home_hero",
    "home_feed_2",
    "home_feed_7",
    "article_sidebar",
    "article_inline",
    "article_footer",
    "video_preroll",
    "video_overlay",
    "search_top",
    "app_interstitial",
];
pub(super) const CHANNELS: [&str; 6] = ["organic", "search", "social", "partner", "newsletter", "push"];
const REGIONS: [&str; 16] = [
    "US-CA", "US-NY", "US-TX", "CA-ON", "GB-LND", "DE-BE", "DE-BY", "FR-IDF", "ES-MD", "IT-25", "NL-NH",
    "PL-MZ", "BR-SP", "IN-KA", "JP-13", "AU-NSW",
];

/// A 128-bit identifier: 48 bits of milliseconds, then 80 random bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ulid(pub u128);

impl Ulid {
    pub fn new(time_ms: u64, high: u64, low: u64) -> Self {
        Self(u128::from(time_ms) << 80 | u128::from(high as u16) << 64 | u128::from(low))
    }

    pub fn time_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let text: [u8; 26] = std::array::from_fn(|i| CROCKFORD[(self.0 >> (125 - 5 * i)) as usize & 31]);
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// An ad, found by its place in the list of advertisers and their campaigns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ad {
    pub advertiser: u32,
    pub campaign: u8,
    pub number: u8,
}

impl Ad {
    fn campaign_index(self) -> u64 {
        u64::from(self.advertiser) * u64::from(CAMPAIGNS) + u64::from(self.campaign)
    }

    fn id(self) -> u64 {
        1_000_000_000 + self.campaign_index() * 100 + u64::from(self.number)
    }

    pub fn bills_clicks(self) -> bool {
        self.campaign < CLICK_CAMPAIGNS
    }

    /// Price of a click, or of a thousand impressions.
    fn bid_micros(self) -> u64 {
        let spread = hash(self.id(), "bid");
        match self.bills_clicks() {
            true => 50_000 + spread % 1_950_000,
            false => 500_000 + spread % 9_500_000,
        }
    }

    /// What one event of this ad costs. A thousandth of a bid in micros is the bid in nanos.
    pub fn cost_nanos(self) -> u64 {
        match self.bills_clicks() {
            true => self.bid_micros() * 1_000,
            false => self.bid_micros(),
        }
    }
}

/// Who is behind an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Visitor,
    Robot,
    Fraudster,
}

/// What is wrong with a malformed line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flaw {
    /// Cut at a place drawn from this number.
    Truncated(u64),
    GuidMissing,
    BidIsText,
    NotJson,
}

/// All that is needed to write a line, and to write the very same line again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub guid: Ulid,
    pub user: u32,
    pub ip: Ipv4Addr,
    pub agent: &'static str,
    pub ad: Ad,
    pub slot: &'static str,
    pub channel: &'static str,
    pub origin: Origin,
    pub flaw: Option<Flaw>,
}

impl Event {
    /// Appends the line, its newline included.
    pub fn write_line(&self, line: &mut Vec<u8>) -> io::Result<()> {
        match self.flaw {
            Some(Flaw::NotJson) => {
                return line.write_all(b"[error] worker 7 exited on signal 9, restarting\n");
            }
            Some(Flaw::GuidMissing) => line.push(b'{'),
            _ => write!(line, r#"{{"guid":"{}","#, self.guid)?,
        }
        self.write_viewer(line)?;
        self.write_ad(line)?;
        if let Some(Flaw::Truncated(cut)) = self.flaw {
            line.truncate(1 + (cut % (line.len() as u64 - 1)) as usize);
        }
        line.push(b'\n');
        Ok(())
    }

    fn write_viewer(&self, line: &mut Vec<u8>) -> io::Result<()> {
        let kind = match self.ad.bills_clicks() {
            true => "click",
            false => "impression",
        };
        write!(
            line,
            r#""event_time_ms":{},"kind":"{kind}","user_id":"u{:x}","ip":"{}","ua":"{}","#,
            self.guid.time_ms(),
            self.user,
            self.ip,
            self.agent,
        )
    }

    fn write_ad(&self, line: &mut Vec<u8>) -> io::Result<()> {
        let device = hash(self.user.into(), "device");
        write!(
            line,
            r#""ad_id":{},"campaign_id":{},"advertiser_id":{},"slot":"{}","region":"{}","channel":"{}","app_version":"{}.{}.{}","bid_micros":"#,
            self.ad.id(),
            100_000 + self.ad.campaign_index(),
            self.ad.advertiser + 1,
            self.slot,
            pick(&REGIONS, hash(self.user.into(), "region")),
            self.channel,
            6 + device % 3,
            device / 3 % 24,
            device / 72 % 10,
        )?;
        match self.flaw {
            Some(Flaw::BidIsText) => line.write_all(br#""unknown""#)?,
            _ => write!(line, "{}", self.ad.bid_micros())?,
        }
        line.write_all(match self.ad.bills_clicks() {
            true => br#","billing":"cpc"}"#,
            false => br#","billing":"cpm"}"#,
        })
    }
}
