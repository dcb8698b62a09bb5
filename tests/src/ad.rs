//! Log lines made by hand: one harmless click after the other, to be bent where a test needs it.

use crate::scratch::{Rng, now_ms};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

/// The fields of a log line. Numbers are texts, so that a test can put anything in their place.
#[derive(Clone, Debug)]
pub struct Ad {
    /// A ULID of its own.
    pub guid: String,
    /// When it happened.
    pub event_time_ms: String,
    /// `click` or `impression`.
    pub kind: String,
    /// Who did it.
    pub user: String,
    /// Where from.
    pub ip: String,
    /// The user agent.
    pub ua: String,
    /// The ad.
    pub ad_id: u64,
    /// Who pays.
    pub advertiser: u64,
    /// The price of a click, or of a thousand impressions.
    pub bid_micros: String,
    /// `cpc` or `cpm`.
    pub billing: String,
}

impl Ad {
    /// Click number `n` of its test: its guid, user, ip and ad are its own, advertiser 1 pays.
    pub fn click(n: u32, time_ms: i64) -> Self {
        Self {
            guid: ulid(time_ms, n),
            event_time_ms: time_ms.to_string(),
            kind: "click".into(),
            user: format!("u{n:08x}"),
            ip: format!("{}.{}.{}.7", 11 + (n >> 16), (n >> 8) & 255, n & 255),
            ua: AGENT.into(),
            ad_id: 1_000_000_000 + u64::from(n),
            advertiser: 1,
            bid_micros: "250000".into(),
            billing: "cpc".into(),
        }
    }

    /// Impression number `n` of its test, otherwise like [`Ad::click`].
    pub fn impression(n: u32, time_ms: i64) -> Self {
        Self { kind: "impression".into(), billing: "cpm".into(), ..Self::click(n, time_ms) }
    }

    /// The same, paid by another advertiser.
    pub fn paid_by(self, advertiser: u64) -> Self {
        Self { advertiser, ..self }
    }

    /// The same at another price.
    pub fn priced(self, bid_micros: impl ToString) -> Self {
        Self { bid_micros: bid_micros.to_string(), ..self }
    }

    /// The log line, with its line feed.
    pub fn line(&self) -> String {
        format!(
            concat!(
                r#"{{"guid":"{}","event_time_ms":{},"kind":"{}","user_id":"{}","ip":"{}","ua":"{}","#,
                r#""ad_id":{},"campaign_id":{},"advertiser_id":{},"slot":"article_sidebar","#,
                r#""region":"FR-IDF","channel":"partner","app_version":"8.18.6","#,
                r#""bid_micros":{},"billing":"{}"}}"#,
                "\n"
            ),
            self.guid,
            self.event_time_ms,
            self.kind,
            self.user,
            self.ip,
            self.ua,
            self.ad_id,
            100_000 + self.advertiser,
            self.advertiser,
            self.bid_micros,
            self.billing,
        )
    }
}

/// The lines of clicks with these numbers, of now.
pub fn clicks(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| Ad::click(n, now_ms()).line()).collect()
}

/// An accounts file of (advertiser, daily budget, balance), in micros.
pub fn accounts_csv(accounts: &[(u64, i64, i64)]) -> String {
    let rows =
        accounts.iter().map(|(advertiser, budget, balance)| format!("{advertiser},{budget},{balance}\n"));
    std::iter::once("advertiser_id,daily_budget_micros,balance_micros\n".to_owned()).chain(rows).collect()
}

/// A ULID: 48 bits of time and 80 that are as good as random but the same in every run.
fn ulid(time_ms: i64, n: u32) -> String {
    let time = u128::from(time_ms.unsigned_abs());
    let mut rng = Rng::new(u64::from(n));
    let random = u128::from(rng.bits()) << 16 | u128::from(rng.bits() & 0xFFFF);
    let value = time << 80 | random;
    let digit = |i| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(value >> (125 - 5 * i)) as usize & 31];
    (0..26).map(|i| char::from(digit(i))).collect()
}
