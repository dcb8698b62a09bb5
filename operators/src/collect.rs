//! Collect: reads lines, one JSON object each, into events of `raw`. What cannot be read is dropped
//! with its reason and the first bytes of the original; nothing is lost.
//!
//! Checks, in this order: the JSON and its types, the limits of the fields, the time.

use crate::billing::auction::{self, Bill};
use crate::clock::{Clock, FINITE_AHEAD, LOOKAHEAD, Verdict};
use crate::outbox::Outbox;
use crate::partition;
use crate::rules::Rules;
use serde::Deserialize;
use std::borrow::Cow;
use std::ops::Deref;
use weir_proto::{
    Billing, Currency, DropReason, Dropped, EventKind, Guid, Minute, NewEvent, Origin, Record, RecordError,
    StageId, ip_key,
};

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// How deeply the values of a line may be nested.
const MAX_DEPTH: usize = 32;

/// A text of a line, which is not copied unless it has escapes. (An `Option<Cow>` would always be copied.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A line as ad front ends log it. Unknown fields are ignored.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    guid: Option<Text<'a>>,
    event_time_ms: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    ip: Option<Text<'a>>,
    #[serde(borrow)]
    ua: Option<Text<'a>>,
    ad_id: u64,
    campaign_id: u64,
    advertiser_id: u64,
    #[serde(borrow, default)]
    slot: Cow<'a, str>,
    #[serde(borrow, default)]
    region: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Cow<'a, str>,
    #[serde(borrow, default)]
    app_version: Cow<'a, str>,
    bid_micros: Option<u64>,
    #[serde(borrow)]
    billing: Option<Text<'a>>,
    /// The currency of its amounts; that of the account if missing.
    #[serde(borrow)]
    currency: Option<Text<'a>>,
    /// Of an action or a sale: the click that it comes from.
    #[serde(borrow)]
    click_guid: Option<Text<'a>>,
    /// Of a reversal: the sale that it reverses.
    #[serde(borrow)]
    sale_guid: Option<Text<'a>>,
    /// Of a sale, or of the part of it that is reversed.
    #[serde(default)]
    sale_micros: u64,
    /// Of an OpenRTB notice.
    #[serde(borrow)]
    bid_id: Option<Text<'a>>,
    #[serde(borrow)]
    imp_id: Option<Text<'a>>,
    #[serde(borrow)]
    auction_price: Option<Text<'a>>,
    #[serde(borrow)]
    auction_multiplier: Option<Text<'a>>,
    #[serde(skip)]
    is_notice: bool,
}

/// Where the time of a run comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The events: a finite run.
    Events,
    /// The wall clock, in ms since the epoch, read by the caller once a slice.
    Wall(u64),
}

/// A line and its position on the collector's tape.
pub type PlacedLine<'a> = (u64, &'a [u8]);

/// Lines of a slice that stand one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// In order.
    pub lines: &'a [PlacedLine<'a>],
    /// How many of them are taken in; what follows is only looked at, to tell whether a surprising time is
    /// followed.
    pub own: usize,
    /// Whether the slice has no more lines.
    pub is_last: bool,
}

impl<'a> Piece<'a> {
    /// A whole slice.
    pub fn whole(lines: &'a [PlacedLine<'a>]) -> Self {
        Piece { lines, own: lines.len(), is_last: true }
    }
}

/// The state of collect: its clock and the newest tick it sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collect {
    /// What time it is.
    pub clock: Clock,
    /// The newest tick sent.
    pub last_tick: Minute,
}

/// How far a slice was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Lines taken in; fewer than its own if the clock entered a new minute, which ends the turn, or if more
    /// lines are needed.
    pub lines: usize,
    /// The newest event time among them, in ms; 0 if there is none.
    pub newest_ms: u64,
}

impl Collect {
    /// Takes in lines up to the first one that belongs to a new minute, or the first one of which only lines that
    /// are not there would tell whether its time is followed: it is to be given again, with more behind it.
    pub fn slice(
        &mut self,
        piece: Piece<'_>,
        time: TimeSource,
        ingest_time_ms: u64,
        rules: &Rules,
        out: &mut Outbox,
    ) -> Taken {
        let mut scratch = out.take_scratch();
        let (mut taken, mut newest_ms) = (piece.own, 0);
        for (i, (position, line)) in piece.lines[..piece.own].iter().enumerate() {
            let parsed = parse(line);
            if let (Ok(parsed), TimeSource::Events) = (&parsed, time) {
                let (before, mut followed_by) = (self.clock, LOOKAHEAD);
                let following = || {
                    let times = times(&piece.lines[i + 1..]);
                    followed_by = times.len();
                    times
                };
                self.clock.advance(parsed.event_time_ms, following, rules);
                let is_unsure = followed_by < LOOKAHEAD && !piece.is_last;
                if is_unsure {
                    self.clock = before;
                }
                if is_unsure || self.tick_is_due() {
                    taken = i;
                    break;
                }
            }
            out.at(*position);
            out.taken();
            let event = parsed.as_ref().map_err(Clone::clone).and_then(|line| {
                let event = line.event(ingest_time_ms)?;
                self.in_time(event.event_time_ms, time, rules)?;
                Ok(event)
            });
            match event {
                Ok(event) => {
                    newest_ms = event.event_time_ms.max(newest_ms);
                    event.encode(&mut scratch);
                    out.emit(partition::by_ip(&ip_key(event.ip), out.partitions()), &[&scratch]);
                }
                Err(Bad(reason, detail)) => out.drop_record(&Dropped {
                    stage: StageId::Collect,
                    reason,
                    detail: &detail,
                    raw: line,
                    event: None,
                }),
            }
        }
        out.put_scratch(scratch);
        Taken { lines: taken, newest_ms }
    }

    /// Takes in what was checked when it was accepted: an event, of which only the time is judged again, or what was
    /// dropped then.
    pub fn record(
        &mut self,
        position: u64,
        bytes: &[u8],
        rules: &Rules,
        out: &mut Outbox,
    ) -> Result<(), RecordError> {
        out.at(position);
        out.taken();
        match Record::decode(bytes)? {
            Record::Event(event) => {
                match self.in_time(event.event_time_ms(), TimeSource::Wall(self.clock.0), rules) {
                    Ok(()) => out.emit(partition::by_ip(&event.ip_bytes(), out.partitions()), &[bytes]),
                    Err(Bad(reason, detail)) => out.drop_record(&Dropped {
                        stage: StageId::Collect,
                        reason,
                        detail: &detail,
                        raw: &[],
                        event: Some(event),
                    }),
                }
            }
            Record::Dropped(dropped) => out.drop_record(&dropped),
            _ => return Err(RecordError::Kind(bytes[0])),
        }
        Ok(())
    }

    /// Whether the clock has entered a minute that was not announced yet.
    pub fn tick_is_due(&self) -> bool {
        Minute::of_ms(self.clock.0) > self.last_tick
    }

    /// Announces a minute, at a position of the tape.
    pub fn tick(&mut self, minute: Minute, position: u64, out: &mut Outbox) {
        self.last_tick = minute;
        out.at(position);
        out.tick(minute);
    }

    fn in_time(&self, time_ms: u64, source: TimeSource, rules: &Rules) -> Result<(), Bad> {
        let ahead = match source {
            TimeSource::Events => FINITE_AHEAD,
            TimeSource::Wall(_) => rules.max_ahead,
        };
        match self.clock.judge(time_ms, ahead, rules) {
            Verdict::InTime => Ok(()),
            Verdict::TooLate => Err(Bad(
                DropReason::TooLate,
                format!("event_time_ms {time_ms} is more than {} minutes old", rules.allowed_lateness),
            )),
            Verdict::Absurd => Err(malformed(format!(
                "event_time_ms {time_ms} is absurdly far off: it is {} by the events around it",
                self.clock.0
            ))),
        }
    }
}

/// The times of the next events.
fn times(lines: &[PlacedLine<'_>]) -> Vec<u64> {
    lines.iter().filter_map(|(_, line)| parse(line).ok()).map(|l| l.event_time_ms).take(LOOKAHEAD).collect()
}

#[derive(Clone, Debug)]
struct Bad(DropReason, String);

fn malformed(detail: String) -> Bad {
    Bad(DropReason::Malformed, detail)
}

fn parse(line: &[u8]) -> Result<Line<'_>, Bad> {
    if line.len() > MAX_LINE {
        return Err(malformed(format!("the line is longer than {MAX_LINE} bytes")));
    }
    if line.first() != Some(&b'{') {
        return Err(malformed("not a JSON object".to_owned()));
    }
    if is_nested_too_deeply(line) {
        return Err(malformed(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    let mut line: Line<'_> = sonic_rs::from_slice(line).map_err(|e| {
        let text = e.to_string();
        malformed(text.lines().next().unwrap_or("not a JSON object").to_owned())
    })?;
    line.notice()?;
    Ok(line)
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

/// What kinds there are, for errors.
const KINDS: &str = "click, impression, action, sale, sale_reversal or burl";
/// The most that a sale may amount to, in micros: a billion units.
const MOST_SALE_MICROS: u64 = 1_000_000_000_000_000;

/// How guids begin that are made here or by deduct, of billing notices and of periods: an event that could
/// choose one would take their place.
pub const OWN_GUIDS: [&str; 3] = ["burl:", "cpt/", "cpd/"];

impl<'a> Line<'a> {
    /// An OpenRTB notice is a billable impression at the price of its auction, once for each bid and
    /// impression of it.
    fn notice(&mut self) -> Result<(), Bad> {
        let not_a_bill = |detail: &str| Err(Bad(DropReason::NotABill, detail.to_owned()));
        match &*self.kind {
            "burl" => {}
            "nurl" | "lurl" => return not_a_bill("a notice of who won is not a bill"),
            _ => return Ok(()),
        }
        let bid = required("bid_id", &self.bid_id)?;
        let imp = required("imp_id", &self.imp_id)?;
        let price = required("auction_price", &self.auction_price)?;
        match auction::bill(price, self.auction_multiplier.as_deref()).map_err(malformed)? {
            Bill::Amount(nanos) => self.bid_micros = Some(nanos),
            Bill::Audit => return not_a_bill("the price AUDIT marks a test"),
        }
        // Two pairs of ids must never read alike.
        let bid = bid.replace('%', "%25").replace(':', "%3A");
        self.guid = Some(Text(Cow::Owned(format!("burl:{bid}:{imp}"))));
        self.billing = Some(Text(Cow::Borrowed(Billing::Cpm.name())));
        self.is_notice = true;
        Ok(())
    }

    fn kind(&self) -> Result<EventKind, Bad> {
        if self.is_notice {
            return Ok(EventKind::Impression);
        }
        let kind = EventKind::ALL.into_iter().find(|kind| kind.name() == self.kind);
        kind.ok_or_else(|| malformed(format!("kind is {:?}, not {KINDS}", self.kind)))
    }

    /// What an action, a sale or a reversal comes from.
    fn origin(&self, kind: EventKind) -> Result<Option<Origin<'_>>, Bad> {
        let (name, guid) = match kind {
            EventKind::Click | EventKind::Impression => return Ok(None),
            EventKind::Action | EventKind::Sale => ("click_guid", &self.click_guid),
            EventKind::SaleReversal => ("sale_guid", &self.sale_guid),
        };
        let guid = required(name, guid)?;
        if guid.is_empty() || guid.len() > Guid::MAX_LEN {
            return Err(malformed(format!("{name} must have 1 to {} bytes", Guid::MAX_LEN)));
        }
        let is_amount = (1..=MOST_SALE_MICROS).contains(&self.sale_micros);
        if kind != EventKind::Action && !is_amount {
            return Err(malformed(format!("sale_micros must be 1 to {MOST_SALE_MICROS}")));
        }
        let sale_micros = if kind == EventKind::Action { 0 } else { self.sale_micros };
        Ok(Some(Origin { guid, sale_micros }))
    }

    fn event(&self, ingest_time_ms: u64) -> Result<NewEvent<'_>, Bad> {
        let kind = self.kind()?;
        // A server that reports need not tell of the user.
        let reported = self.is_notice || kind.has_origin();
        let user_id = of_user(reported, "user_id", &self.user_id, "")?;
        let texts = [
            ("user_id", user_id),
            ("slot", &self.slot),
            ("region", &self.region),
            ("channel", &self.channel),
            ("app_version", &self.app_version),
        ];
        if let Some((name, _)) = texts.iter().find(|(_, text)| text.len() > NewEvent::MAX_TEXT) {
            return Err(malformed(format!("{name} is longer than {} bytes", NewEvent::MAX_TEXT)));
        }
        let (guid, ip) = (required("guid", &self.guid)?, of_user(reported, "ip", &self.ip, "0.0.0.0")?);
        let billing = required("billing", &self.billing)?;
        let is_bid = matches!(kind, EventKind::Click | EventKind::Impression);
        let bid = self.bid_micros.filter(|_| is_bid).or((!is_bid).then_some(0));
        let currency = self.currency.as_deref().map(|text| {
            Currency::parse(text)
                .ok_or_else(|| malformed(format!("currency is {text:?}, not a code of ISO 4217")))
        });
        if !self.is_notice
            && let Some(start) = OWN_GUIDS.iter().find(|start| guid.starts_with(**start))
        {
            return Err(malformed(format!("a guid that begins with {start:?} is given by the job alone")));
        }
        Ok(NewEvent {
            guid: Guid::parse(guid)
                .ok_or_else(|| malformed(format!("guid must have 1 to {} bytes", Guid::MAX_LEN)))?,
            event_time_ms: self.event_time_ms,
            ingest_time_ms,
            kind,
            user_id,
            ip: ip.parse().map_err(|_| malformed(format!("ip {ip:?} is not an address")))?,
            ua: of_user(reported, "ua", &self.ua, "")?,
            ad_id: self.ad_id,
            campaign_id: self.campaign_id,
            advertiser_id: self.advertiser_id,
            slot: &self.slot,
            region: &self.region,
            channel: &self.channel,
            app_version: &self.app_version,
            bid_micros: bid.ok_or_else(|| missing("bid_micros"))?,
            billing: Billing::from_name(billing)
                .filter(|billing| !matches!(billing, Billing::Cpt | Billing::Cpd))
                .ok_or_else(|| malformed(format!("billing is {billing:?}, not cpc, cpm, cpa or cps")))?,
            origin: self.origin(kind)?,
            reported,
            currency: currency.transpose()?,
        })
    }
}

fn missing(name: &str) -> Bad {
    malformed(format!("missing field `{name}`"))
}

fn required<'b>(name: &str, value: &'b Option<Text<'_>>) -> Result<&'b str, Bad> {
    value.as_deref().ok_or_else(|| missing(name))
}

fn of_user<'b>(reported: bool, name: &str, value: &'b Option<Text<'_>>, or: &'b str) -> Result<&'b str, Bad> {
    if reported { Ok(value.as_deref().unwrap_or(or)) } else { required(name, value) }
}
