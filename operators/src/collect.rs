//! Collect: reads lines, one JSON object each, into events of `raw`. What cannot be read is dropped
//! with its reason and the first bytes of the original; nothing is lost.
//!
//! Checks, in this order: the JSON and its types, the limits of the fields, the time.

use crate::clock::{Clock, FINITE_AHEAD, LOOKAHEAD, Verdict};
use crate::outbox::Outbox;
use crate::partition;
use crate::rules::Rules;
use serde::Deserialize;
use std::borrow::Cow;
use weir_proto::{Billing, DropReason, Dropped, EventKind, Guid, Minute, NewEvent, StageId, ip_key};

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// How deeply the values of a line may be nested.
const MAX_DEPTH: usize = 32;

/// A line as ad front ends log it. Unknown fields are ignored.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    guid: Cow<'a, str>,
    event_time_ms: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    ip: Cow<'a, str>,
    #[serde(borrow)]
    ua: Cow<'a, str>,
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
    bid_micros: u64,
    #[serde(borrow)]
    billing: Cow<'a, str>,
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
    /// Lines taken in; fewer than given if the clock entered a new minute, which ends the turn.
    pub lines: usize,
    /// The newest event time among them, in ms; 0 if there is none.
    pub newest_ms: u64,
}

impl Collect {
    /// Takes in lines up to the first one that belongs to a new minute.
    pub fn slice(
        &mut self,
        lines: &[PlacedLine<'_>],
        time: TimeSource,
        ingest_time_ms: u64,
        rules: &Rules,
        out: &mut Outbox,
    ) -> Taken {
        let mut scratch = out.take_scratch();
        let (mut taken, mut newest_ms) = (lines.len(), 0);
        for (i, (position, line)) in lines.iter().enumerate() {
            let parsed = parse(line);
            if let (Ok(parsed), TimeSource::Events) = (&parsed, time) {
                self.clock.advance(parsed.event_time_ms, || times(&lines[i + 1..]), rules);
                if self.tick_is_due() {
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
    sonic_rs::from_slice(line).map_err(|e| {
        let text = e.to_string();
        malformed(text.lines().next().unwrap_or("not a JSON object").to_owned())
    })
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

impl Line<'_> {
    fn event(&self, ingest_time_ms: u64) -> Result<NewEvent<'_>, Bad> {
        let texts = [
            ("user_id", &self.user_id),
            ("slot", &self.slot),
            ("region", &self.region),
            ("channel", &self.channel),
            ("app_version", &self.app_version),
        ];
        if let Some((name, _)) = texts.iter().find(|(_, text)| text.len() > NewEvent::MAX_TEXT) {
            return Err(malformed(format!("{name} is longer than {} bytes", NewEvent::MAX_TEXT)));
        }
        Ok(NewEvent {
            guid: Guid::parse(&self.guid)
                .ok_or_else(|| malformed(format!("guid must have 1 to {} bytes", Guid::MAX_LEN)))?,
            event_time_ms: self.event_time_ms,
            ingest_time_ms,
            kind: match &*self.kind {
                "click" => EventKind::Click,
                "impression" => EventKind::Impression,
                other => return Err(malformed(format!("kind is {other:?}, not click or impression"))),
            },
            user_id: &self.user_id,
            ip: self.ip.parse().map_err(|_| malformed(format!("ip {:?} is not an address", self.ip)))?,
            ua: &self.ua,
            ad_id: self.ad_id,
            campaign_id: self.campaign_id,
            advertiser_id: self.advertiser_id,
            slot: &self.slot,
            region: &self.region,
            channel: &self.channel,
            app_version: &self.app_version,
            bid_micros: self.bid_micros,
            billing: match &*self.billing {
                "cpc" => Billing::Cpc,
                "cpm" => Billing::Cpm,
                other => return Err(malformed(format!("billing is {other:?}, not cpc or cpm"))),
            },
            origin: None,
            reported: false,
        })
    }
}
