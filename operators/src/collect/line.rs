//! A line of JSON, and a message of `Collector`, as the same fields.

use super::refusal::{Refusal, malformed, wrong};
use serde::Deserialize;
use std::borrow::Cow;
use std::ops::Deref;
use weir_proto::rpc::IngestEvent;

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// How deeply the values of a line may be nested.
const MAX_DEPTH: usize = 32;

/// A text of a line, which is not copied unless it has escapes. (An `Option<Cow>` would always be copied.)
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A line as ad front ends log it. Unknown fields are ignored.
#[derive(Deserialize)]
pub struct Line<'a> {
    #[serde(borrow)]
    pub(super) guid: Option<Text<'a>>,
    pub(super) event_time_ms: u64,
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) user_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) ip: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) ua: Option<Text<'a>>,
    pub(super) ad_id: Option<u64>,
    pub(super) campaign_id: Option<u64>,
    pub(super) advertiser_id: Option<u64>,
    #[serde(borrow, default)]
    pub(super) slot: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) region: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) channel: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) app_version: Cow<'a, str>,
    pub(super) bid_micros: Option<u64>,
    #[serde(borrow)]
    pub(super) billing: Option<Text<'a>>,
    /// The currency of its amounts; that of the account if missing.
    #[serde(borrow)]
    pub(super) currency: Option<Text<'a>>,
    /// Of an action or a sale: the click that it comes from.
    #[serde(borrow)]
    pub(super) click_guid: Option<Text<'a>>,
    /// Of a reversal: the sale that it reverses.
    #[serde(borrow)]
    pub(super) sale_guid: Option<Text<'a>>,
    /// Of a sale, or of the part of it that is reversed.
    #[serde(default)]
    pub(super) sale_micros: u64,
    /// Of an OpenRTB notice.
    #[serde(borrow)]
    pub(super) bid_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) imp_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) auction_price: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) auction_multiplier: Option<Text<'a>>,
    /// Stands for the fields that it binds; log files cannot have one.
    #[serde(borrow)]
    pub(super) credential: Option<Text<'a>>,
    #[serde(skip)]
    pub(super) is_notice: bool,
}

impl<'a> Line<'a> {
    /// Reads a JSON object.
    pub fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        if line.len() > MAX_LINE {
            return Err(malformed(format!("the line is longer than {MAX_LINE} bytes")));
        }
        if line.first() != Some(&b'{') {
            return Err(malformed("not a JSON object".to_owned()));
        }
        if is_nested_too_deeply(line) {
            return Err(malformed(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let mut read: Line<'_> = sonic_rs::from_slice(line).map_err(|e| Refusal::json(line, &e))?;
        read.notice()?;
        Ok(read)
    }

    /// Reads a line of a log file, where nothing stands for a field that is missing.
    pub(super) fn of_log(line: &'a [u8]) -> Result<Self, Refusal> {
        let read = Self::parse(line)?;
        read.ids()?;
        Ok(read)
    }

    /// Takes over the fields of a message. One that is empty is missing, as there is no telling them apart.
    pub fn of_message(m: &'a IngestEvent) -> Result<Self, Refusal> {
        let text = |text: &'a str| (!text.is_empty()).then_some(Text(Cow::Borrowed(text)));
        let is_bound = !m.credential.is_empty();
        let id = |id: u64| (!is_bound || id != 0).then_some(id);
        let mut read = Line {
            guid: text(&m.guid),
            event_time_ms: m.event_time_ms,
            kind: Cow::Borrowed(&m.kind),
            user_id: text(&m.user_id),
            ip: text(&m.ip),
            ua: text(&m.ua),
            ad_id: id(m.ad_id),
            campaign_id: id(m.campaign_id),
            advertiser_id: id(m.advertiser_id),
            slot: Cow::Borrowed(&m.slot),
            region: Cow::Borrowed(&m.region),
            channel: Cow::Borrowed(&m.channel),
            app_version: Cow::Borrowed(&m.app_version),
            bid_micros: m.bid_micros,
            billing: text(&m.billing),
            currency: text(&m.currency),
            click_guid: text(&m.click_guid),
            sale_guid: text(&m.sale_guid),
            sale_micros: m.sale_micros,
            bid_id: text(&m.bid_id),
            imp_id: text(&m.imp_id),
            auction_price: text(&m.auction_price),
            auction_multiplier: text(&m.auction_multiplier),
            credential: text(&m.credential),
            is_notice: false,
        };
        read.notice()?;
        Ok(read)
    }

    /// The credential that it carries.
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// The address of whoever sees the ad.
    pub fn ip(&self) -> Option<&str> {
        self.ip.as_deref()
    }

    /// His user agent.
    pub fn ua(&self) -> Option<&str> {
        self.ua.as_deref()
    }

    /// Whether it is a billing notice.
    pub fn is_notice(&self) -> bool {
        self.is_notice
    }

    /// With a user agent, which may be empty.
    pub fn with_ua(mut self, ua: &'a str) -> Self {
        self.ua = Some(Text(Cow::Borrowed(ua)));
        self
    }

    /// Ad, campaign and advertiser.
    pub(super) fn ids(&self) -> Result<[u64; 3], Refusal> {
        Ok([
            self.ad_id.ok_or_else(|| missing("ad_id"))?,
            self.campaign_id.ok_or_else(|| missing("campaign_id"))?,
            self.advertiser_id.ok_or_else(|| missing("advertiser_id"))?,
        ])
    }
}

pub(super) fn missing(name: &'static str) -> Refusal {
    wrong(name, format!("missing field `{name}`"))
}

/// Whether reading a line could exhaust the stack. Few brackets, as in every honest line, cannot.
fn is_nested_too_deeply(line: &[u8]) -> bool {
    if memchr::memchr2_iter(b'{', b'[', line).take(MAX_DEPTH + 1).count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    line.iter().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}
