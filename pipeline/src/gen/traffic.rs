//! What happens when: visits, robots, frauds and repeated lines in the order of arrival.

use std::collections::BTreeMap;

use super::GenArgs;
use super::agents::{PEOPLE, ROBOTS};
use super::line::{CHANNELS, CLICK_CAMPAIGNS, Event, Flaw, Origin, SLOTS, Ulid};
use super::random::{Random, hash, pick};
use super::visits::{Audience, Visit, public_ip};

const FRAUD_WINDOW_US: u64 = 30_000_000;
const REPEAT_WINDOW_US: u64 = 600_000_000;
/// Most lines reach the log this soon after the event.
const USUAL_LAG_MS: u64 = 200;
const SLOW_SHARE: f64 = 0.2;
/// One attack in this many is a flood, the others are bursts on one ad.
const ATTACKS_PER_FLOOD: u64 = 11;
const BURST_SIZE: (u64, u64) = (20, 60);
const FLOOD_SIZE: (u64, u64) = (120, 300);

/// A line to be written.
pub(super) struct Arrival {
    /// Microseconds since the start of the log.
    pub at_us: u64,
    pub server: usize,
    pub event: Event,
    pub is_repeat: bool,
}

enum Planned {
    Fraud(Visit),
    Repeat(Event),
}

/// Probabilities per draw that lead to the shares of all lines that were asked for.
struct Odds {
    attack: f64,
    robot: f64,
    flaw: f64,
    repeat: f64,
}

impl Odds {
    fn new(args: &GenArgs) -> Self {
        let mean = |(least, most): (u64, u64)| (least + most) as f64 / 2.0;
        let bursts = (ATTACKS_PER_FLOOD - 1) as f64;
        let attack_size = (mean(FLOOD_SIZE) + bursts * mean(BURST_SIZE)) / ATTACKS_PER_FLOOD as f64;
        let first_writes = 1.0 - args.duplicate_rate;
        let visits = first_writes - args.fraud_rate;
        Self {
            attack: args.fraud_rate / attack_size / visits,
            robot: args.bot_rate / visits,
            flaw: args.malformed_rate / first_writes,
            repeat: args.duplicate_rate / (first_writes - args.malformed_rate),
        }
    }
}

/// The lines of a log, in the order of arrival. Holds no line, only what is still to come of
/// attacks and repeats: at most 10 minutes of them.
pub(super) struct Traffic<'a> {
    args: &'a GenArgs,
    start_ms: u64,
    odds: Odds,
    random: Random,
    audience: Audience,
    lines: u64,
    plans: u64,
    planned: BTreeMap<(u64, u64), Planned>,
}

impl<'a> Traffic<'a> {
    pub fn new(args: &'a GenArgs, start_ms: u64) -> Self {
        Self {
            args,
            start_ms,
            odds: Odds::new(args),
            random: Random::new(args.seed),
            audience: Audience::new(args.users, args.advertisers, args.hot_share),
            lines: 0,
            plans: 0,
            planned: BTreeMap::new(),
        }
    }

    fn plan_attack(&mut self, now_us: u64, visit: Visit) {
        match self.random.below(ATTACKS_PER_FLOOD) {
            0 => self.plan_frauds(now_us, FLOOD_SIZE, |traffic| Visit {
                ad: traffic.audience.ad(CLICK_CAMPAIGNS, &mut traffic.random),
                ..visit
            }),
            n if n % 2 == 0 => self.plan_frauds(now_us, BURST_SIZE, |traffic| Visit {
                user: traffic.audience.any_user(&mut traffic.random),
                ..visit
            }),
            _ => self.plan_frauds(now_us, BURST_SIZE, |traffic| Visit {
                ip: public_ip(traffic.random.bits()),
                ..visit
            }),
        }
    }

    fn plan_frauds(&mut self, now_us: u64, (least, most): (u64, u64), variant: impl Fn(&mut Self) -> Visit) {
        for _ in 0..least + self.random.below(most - least + 1) {
            let fraud = Planned::Fraud(variant(self));
            self.plan(now_us, FRAUD_WINDOW_US, fraud);
        }
    }

    fn plan(&mut self, now_us: u64, window_us: u64, planned: Planned) {
        // Whatever is planned must come before the log ends, or short logs would miss their rates.
        let left_us = self.args.offset_us(self.args.events).saturating_sub(now_us);
        let due_us = now_us + self.random.below(window_us.min(left_us));
        self.plans += 1;
        self.planned.insert((due_us, self.plans), planned);
    }

    fn take_due(&mut self, now_us: u64) -> Option<Planned> {
        let next = self.planned.first_entry()?;
        let (due_us, _) = *next.key();
        (due_us <= now_us).then(|| next.remove())
    }

    fn log(&mut self, now_us: u64, visit: Visit, origin: Origin) -> Event {
        let most_lag = match self.random.chance(SLOW_SHARE) {
            true => self.args.disorder_ms(),
            false => self.args.disorder_ms().min(USUAL_LAG_MS),
        };
        let time_ms = self.start_ms + now_us / 1_000;
        let time_ms = time_ms.saturating_sub(self.random.below(most_lag));
        let event = Event {
            guid: Ulid::new(time_ms, self.random.bits(), self.random.bits()),
            user: visit.user,
            ip: visit.ip,
            agent: match origin {
                Origin::Robot => pick(&ROBOTS, self.random.bits()),
                _ => pick(&PEOPLE, hash(visit.user.into(), "agent")),
            },
            ad: visit.ad,
            slot: pick(&SLOTS, self.random.bits()),
            channel: pick(&CHANNELS, self.random.bits()),
            origin,
            flaw: self.next_flaw(),
        };
        if event.flaw.is_none() && self.random.chance(self.odds.repeat) {
            self.plan(now_us, REPEAT_WINDOW_US, Planned::Repeat(event));
        }
        event
    }

    fn next_flaw(&mut self) -> Option<Flaw> {
        if !self.random.chance(self.odds.flaw) {
            return None;
        }
        let cut = Flaw::Truncated(self.random.bits());
        let flaws = [cut, Flaw::GuidMissing, Flaw::BidIsText, Flaw::NotJson];
        Some(pick(&flaws, self.random.bits()))
    }
}

impl Iterator for Traffic<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        if self.lines == self.args.events {
            return None;
        }
        let at_us = self.args.offset_us(self.lines);
        self.lines += 1;
        let (event, is_repeat) = match self.take_due(at_us) {
            Some(Planned::Repeat(event)) => (event, true),
            Some(Planned::Fraud(visit)) => (self.log(at_us, visit, Origin::Fraudster), false),
            None => {
                let visit = self.audience.visit(&mut self.random);
                if self.random.chance(self.odds.attack) {
                    self.plan_attack(at_us, visit);
                }
                let origin = match self.random.chance(self.odds.robot) {
                    true => Origin::Robot,
                    false => Origin::Visitor,
                };
                (self.log(at_us, visit, origin), false)
            }
        };
        let server = hash(event.user.into(), "server") % u64::from(self.args.files);
        Some(Arrival { at_us, server: server as usize, event, is_repeat })
    }
}
