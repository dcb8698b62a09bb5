//! What is answered: what became of each event, or why nothing of a request was taken in.

use super::body::Unreadable;
use super::intake::{NotTaken, Taken};
use super::judge::Judged;
use super::limit::Limited;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::time::Duration;
use weir_operators::collect::Refusal;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// On disk now.
    Taken(Taken),
    /// Not taken in.
    Refused(Refusal),
}

/// The answer for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventAnswer {
    /// Its guid, unless it is refused.
    pub guid: Option<Box<str>>,
    /// What became of it.
    pub became: Became,
}

/// The answer for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// In the order of the events.
    pub events: Vec<EventAnswer>,
}

impl Answer {
    /// Of what was judged and then offered, where there was something to offer.
    pub fn of(judged: Vec<Judged>, taken: Vec<Taken>) -> Self {
        let mut taken = taken.into_iter();
        let events = judged.into_iter().map(|Judged { guid, verdict, offer }| {
            // An offer for each of them was answered.
            let took = offer.and_then(|_| taken.next()).unwrap_or(Taken::Accepted);
            let became = verdict.map_or_else(Became::Refused, |()| Became::Taken(took));
            EventAnswer { guid, became }
        });
        Answer { events: events.collect() }
    }

    /// How many were accepted now, are duplicates, and were refused.
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for event in &self.events {
            counts[match event.became {
                Became::Taken(Taken::Accepted) => 0,
                Became::Taken(Taken::Duplicate) => 1,
                Became::Refused(_) => 2,
            }] += 1;
        }
        counts
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [accepted, duplicate, refused] = self.counts();
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("accepted", &accepted)?;
        map.serialize_entry("duplicate", &duplicate)?;
        map.serialize_entry("refused", &refused)?;
        map.serialize_entry("events", &Events(&self.events))?;
        map.end()
    }
}

struct Events<'a>(&'a [EventAnswer]);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for (index, event) in self.0.iter().enumerate() {
            seq.serialize_element(&Placed(index, event))?;
        }
        seq.end()
    }
}

struct Placed<'a>(usize, &'a EventAnswer);

impl Serialize for Placed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Placed(index, event) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("index", index)?;
        map.serialize_entry("guid", &event.guid)?;
        match &event.became {
            Became::Taken(taken) => map.serialize_entry("status", name(*taken))?,
            Became::Refused(refusal) => {
                map.serialize_entry("status", "refused")?;
                map.serialize_entry("code", refusal.reason.name())?;
                map.serialize_entry("field", &refusal.field)?;
                map.serialize_entry("message", &refusal.message)?;
            }
        }
        map.end()
    }
}

/// The name in answers.
pub fn name(taken: Taken) -> &'static str {
    match taken {
        Taken::Accepted => "accepted",
        Taken::Duplicate => "duplicate",
    }
}

/// Nothing of a request was taken in, or it is not known: it may be sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It cannot be read as a whole.
    #[error("{0}")]
    Unreadable(String),
    /// It has too many bytes or events.
    #[error("{0}")]
    TooLarge(String),
    /// It did not come in time.
    #[error("the request did not come within {} ms (`ingest.request_timeout`)", .0.as_millis())]
    TooSlow(Duration),
    /// A limit of access was reached.
    #[error("the limit of events a second of {} was reached; try again in {} ms", whose(.by), .retry_after.as_millis())]
    Limited {
        /// Whose: `client`, `address` or `total`.
        by: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// There is more under way than can be taken in now.
    #[error("{why}; try again in {} s", seconds(*.retry_after))]
    Overloaded {
        /// What is short.
        why: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The process ends.
    #[error("weir is stopping; try again in a moment")]
    Stopping,
}

impl Rejected {
    /// Its name in answers and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Rejected::Unreadable(_) => "unreadable",
            Rejected::TooLarge(_) => "too_large",
            Rejected::TooSlow(_) => "too_slow",
            Rejected::Limited { .. } => "limited",
            Rejected::Overloaded { .. } => "overloaded",
            Rejected::Stopping => "stopping",
        }
    }

    /// When to try again, if that is of use.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Rejected::Limited { retry_after, .. } | Rejected::Overloaded { retry_after, .. } => {
                Some(*retry_after)
            }
            Rejected::Stopping => Some(Duration::from_secs(1)),
            Rejected::Unreadable(_) | Rejected::TooLarge(_) | Rejected::TooSlow(_) => None,
        }
    }
}

/// Whole seconds, as `Retry-After` has them.
pub fn seconds(retry_after: Duration) -> u64 {
    retry_after.as_millis().div_ceil(1000).max(1) as u64
}

fn whose(by: &str) -> &'static str {
    match by {
        "client" => "this client",
        "address" => "this address",
        _ => "all clients together",
    }
}

impl From<NotTaken> for Rejected {
    fn from(error: NotTaken) -> Self {
        let why = error.to_string();
        match error {
            NotTaken::Full { retry_after } | NotTaken::Away { retry_after, .. } => {
                Rejected::Overloaded { why, retry_after }
            }
            NotTaken::Stopping => Rejected::Stopping,
        }
    }
}

impl From<Limited> for Rejected {
    fn from(Limited { by, retry_after }: Limited) -> Self {
        match retry_after {
            Ok(retry_after) => Rejected::Limited { by, retry_after },
            Err(most) => Rejected::TooLarge(format!(
                "the limit of {} lets {most} events in at once; send fewer in a request",
                whose(by)
            )),
        }
    }
}

impl From<Unreadable> for Rejected {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::TooMany(_) => Rejected::TooLarge(error.to_string()),
            _ => Rejected::Unreadable(error.to_string()),
        }
    }
}
