//! One switch: what it is set to, its breaker, and what follows from both.

use super::breaker::{Breaker, FAILURES, Flip};
use super::{Change, ControlRecord, Name, Recorded, Setting, SwitchEntry};
use crate::error::JobError;
use crate::source::collect::now_ms;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who flips a switch that is set to `auto`.
const BREAKER: &str = "breaker";

#[derive(Default)]
struct State {
    recorded: Recorded,
    breaker: Breaker,
    /// Whether a job has taken over what its control log says.
    is_known: bool,
}

/// A switch. Whoever does the work asks it first, and tells it what became of the work.
pub struct Switch {
    name: Name,
    state: Mutex<State>,
    /// What the state comes to, to be looked at for every event.
    is_on: AtomicBool,
    trips: AtomicU64,
    begun: Instant,
    record: Arc<ControlRecord>,
}

/// A switch, as it is shown.
pub struct Shown {
    /// Which.
    pub name: Name,
    /// What it is set to.
    pub setting: Setting,
    /// Whether its work is done now.
    pub is_on: bool,
    /// Why.
    pub why: String,
    /// How often its breaker has opened, since the start of the process.
    pub trips: u64,
}

impl Switch {
    pub(super) fn new(name: Name, record: Arc<ControlRecord>) -> Self {
        Switch {
            name,
            state: Mutex::default(),
            is_on: AtomicBool::new(true),
            trips: AtomicU64::new(0),
            begun: Instant::now(),
            record,
        }
    }

    /// Which it is.
    pub fn name(&self) -> Name {
        self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The job goes on with what its control log says. What a breaker has done while there was no job is written there.
    pub(super) fn resume(&self, recorded: &Recorded) {
        let mut state = self.state();
        let was_known = std::mem::replace(&mut state.is_known, true);
        let before = std::mem::replace(&mut state.recorded, recorded.clone());
        if !was_known {
            state.breaker = if recorded.opened.is_some() { Breaker::reopened() } else { Breaker::default() };
        } else if state.breaker.is_open() != recorded.opened.is_some() {
            let why = before.opened.map_or_else(String::new, |entry| entry.why);
            let flip = if state.breaker.is_open() { Flip::Opened } else { Flip::Closed };
            self.flip(&mut state, flip, &why);
        }
        self.show(&state);
    }

    fn show(&self, state: &State) {
        let is_on = match state.recorded.setting() {
            Setting::On => true,
            Setting::Off => false,
            Setting::Auto => !state.breaker.is_open(),
        };
        self.is_on.store(is_on, Ordering::Release);
    }

    /// Sets it, durably.
    pub fn set(&self, setting: Setting, by: &str, why: &str) -> Result<(), JobError> {
        let mut state = self.state();
        let entry = self.entry(Change::Set(setting), by, why);
        self.record.write(entry.clone())?;
        state.recorded.apply(&entry);
        state.breaker = Breaker::default();
        self.show(&state);
        tracing::info!("switch {}: set to {} by {by}", self.name.name(), setting.name());
        Ok(())
    }

    fn entry(&self, change: Change, by: &str, why: &str) -> SwitchEntry {
        SwitchEntry {
            name: self.name.name().to_owned(),
            change,
            at_ms: now_ms(),
            by: by.to_owned(),
            why: why.to_owned(),
        }
    }

    /// Whether its work is done now. It costs next to nothing to ask.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Whether somebody has set it to off.
    pub fn is_set_off(&self) -> bool {
        self.state().recorded.setting() == Setting::Off
    }

    /// Whether what is under way should end, too.
    pub fn rests(&self) -> bool {
        !self.ask(|breaker, _| !breaker.rests())
    }

    /// Whether work would be let through now: it is on, or a trial is due.
    pub fn lets(&self) -> bool {
        self.ask(|breaker, now| breaker.lets(now))
    }

    /// Lets work through, or not. If it does, what became of the work is to be told.
    pub fn admit(&self) -> bool {
        self.ask(Breaker::admit)
    }

    /// The breaker is asked if nobody has decided.
    fn ask(&self, breaker: impl FnOnce(&mut Breaker, Duration) -> bool) -> bool {
        let mut state = self.state();
        match state.recorded.setting() {
            Setting::On => true,
            Setting::Off => false,
            Setting::Auto => breaker(&mut state.breaker, self.now()),
        }
    }

    /// There was nothing to do after all.
    pub fn withdraw(&self) {
        self.state().breaker.withdraw(self.now());
    }

    /// The work has worked.
    pub fn worked(&self) {
        self.tell("", |breaker, _| breaker.worked());
    }

    /// The work has failed, or was too slow.
    pub fn failed(&self, why: &str) {
        self.tell(why, |breaker, now| breaker.failed(now));
    }

    /// The breaker of a switch that is set by hand has nothing to say.
    fn tell(&self, why: &str, outcome: impl FnOnce(&mut Breaker, Duration) -> Option<Flip>) {
        let mut state = self.state();
        if state.recorded.setting() != Setting::Auto {
            return;
        }
        if let Some(flip) = outcome(&mut state.breaker, self.now()) {
            if flip == Flip::Opened {
                self.trips.fetch_add(1, Ordering::Relaxed);
            }
            self.flip(&mut state, flip, why);
            self.show(&state);
        }
    }

    /// Says and writes that the breaker has flipped. It has, even if that cannot be written.
    fn flip(&self, state: &mut State, flip: Flip, why: &str) {
        let name = self.name.name();
        let change = match flip {
            Flip::Opened => Change::Opened,
            Flip::Closed => Change::Closed,
        };
        match flip {
            // The failures themselves were told by whoever met them.
            Flip::Opened => tracing::warn!(
                "switch {name}: off by itself after {FAILURES} failures in a row, until a trial works; see \
                 `weir switch list`"
            ),
            Flip::Closed => tracing::info!("switch {name}: on again by itself"),
        }
        let entry = self.entry(change, BREAKER, why);
        state.recorded.apply(&entry);
        if let Err(error) = self.record.write(entry) {
            tracing::warn!("switch {name}: its change is not in the control log yet: {error}");
        }
    }

    /// How often its breaker has opened, since the start of the process.
    pub fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    /// As it is to be shown.
    pub fn shown(&self) -> Shown {
        let state = self.state();
        let setting = state.recorded.setting();
        let why = match (setting, &state.recorded.set, &state.recorded.opened) {
            (Setting::Auto, _, Some(e)) => format!("auto: breaker open since {}: {}", time(e.at_ms), e.why),
            (Setting::Auto, _, None) => "auto: breaker closed".to_owned(),
            (_, Some(e), _) if e.why.is_empty() => format!("set by {} at {}", e.by, time(e.at_ms)),
            (_, Some(e), _) => format!("set by {} at {}: {}", e.by, time(e.at_ms), e.why),
            (_, None, _) => String::new(),
        };
        Shown { name: self.name, setting, is_on: self.is_on(), why, trips: self.trips() }
    }
}

fn time(ms: u64) -> String {
    let shown = Timestamp::from_second((ms / 1000) as i64);
    shown.map_or_else(|_| ms.to_string(), |time| time.to_string())
}
