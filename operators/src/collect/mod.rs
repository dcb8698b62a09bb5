//! Collect: reads lines, one JSON object each, into events of `raw`. What cannot be read is dropped
//! with its reason and the first bytes of the original; nothing is lost.
//!
//! Checks, in this order: the JSON and its types ([`line`]), the limits of the fields ([`event`]), the time.
//! Whoever else takes events in checks them with the same code.

mod credential;
mod event;
mod line;
mod refusal;

pub use credential::Bound;
pub use event::OWN_GUIDS;
pub use line::{Line, MAX_LINE};
pub use refusal::Refusal;

use crate::clock::{Clock, FINITE_AHEAD, LOOKAHEAD, Verdict};
use crate::outbox::Outbox;
use crate::partition;
use crate::rules::Rules;
use weir_proto::{DropReason, Dropped, Minute, Record, RecordError, StageId, ip_key};

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
            let parsed = Line::of_log(line);
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
                Err(refusal) => out.drop_record(&Dropped {
                    stage: StageId::Collect,
                    reason: refusal.reason,
                    detail: &refusal.message,
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
                    Err(refusal) => out.drop_record(&Dropped {
                        stage: StageId::Collect,
                        reason: refusal.reason,
                        detail: &refusal.message,
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

    fn in_time(&self, time_ms: u64, source: TimeSource, rules: &Rules) -> Result<(), Refusal> {
        let ahead = match source {
            TimeSource::Events => FINITE_AHEAD,
            TimeSource::Wall(_) => rules.max_ahead,
        };
        in_time(self.clock, time_ms, ahead, rules)
    }
}

/// Refuses a time that a clock, which it may be ahead of by so many minutes, does not let through.
pub fn in_time(clock: Clock, time_ms: u64, ahead: u32, rules: &Rules) -> Result<(), Refusal> {
    let (reason, message) = match clock.judge(time_ms, ahead, rules) {
        Verdict::InTime => return Ok(()),
        Verdict::TooLate => (
            DropReason::TooLate,
            format!("event_time_ms {time_ms} is more than {} minutes old", rules.allowed_lateness),
        ),
        Verdict::Absurd => (
            DropReason::Malformed,
            format!("event_time_ms {time_ms} is absurdly far off: it is {} by the events around it", clock.0),
        ),
    };
    Err(Refusal { reason, field: Some("event_time_ms"), message })
}

/// The times of the next events.
fn times(lines: &[PlacedLine<'_>]) -> Vec<u64> {
    lines
        .iter()
        .filter_map(|(_, line)| Line::of_log(line).ok())
        .map(|l| l.event_time_ms)
        .take(LOOKAHEAD)
        .collect()
}
