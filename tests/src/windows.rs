//! How full each window of the rules is.

use std::collections::{HashMap, HashSet};

use crate::input::Event;
use crate::rules::{
    FLOOD_LIMIT, MINUTE_MS, TEN_SECONDS_MS, USER_AD_LIMIT, USER_CLICK_LIMIT, USER_SPREAD_LIMIT, bucket,
};

/// Who did something to what in which window.
pub type Key = (u64, u64, i64);

/// The window of the flood rule in which an event lies.
pub fn flood_key(event: &Event) -> Key {
    (event.ip, event.ad, bucket(event.time_ms, MINUTE_MS))
}

/// Lines of each ip and ad in each minute; a repeated line counts like any other.
pub fn floods<'a>(lines: impl Iterator<Item = &'a Event>) -> HashMap<Key, usize> {
    let mut counts = HashMap::new();
    for event in lines {
        *counts.entry(flood_key(event)).or_default() += 1;
    }
    counts
}

/// What each user did in each window.
#[derive(Default)]
pub struct Users {
    by_ad: HashMap<Key, usize>,
    clicks: HashMap<Key, usize>,
    ads: HashMap<Key, HashSet<u64>>,
}

impl Users {
    /// Counts events, each guid of which must come once.
    pub fn of<'a>(guids: impl Iterator<Item = &'a Event>) -> Self {
        let mut users = Self::default();
        for event in guids {
            *users.by_ad.entry(user_ad_key(event)).or_default() += 1;
            *users.clicks.entry(click_key(event)).or_default() += usize::from(event.is_click);
            users.ads.entry(spread_key(event)).or_default().insert(event.ad);
        }
        users
    }

    /// True when no rule is broken in any window of the event.
    pub fn is_within_limits(&self, event: &Event) -> bool {
        self.by_ad[&user_ad_key(event)] <= USER_AD_LIMIT
            && self.clicks[&click_key(event)] <= USER_CLICK_LIMIT
            && self.ads[&spread_key(event)].len() <= USER_SPREAD_LIMIT
    }

    /// The excess that each rule may drop, all windows together: by ad, clicks, spread.
    pub fn fullest(&self) -> [usize; 3] {
        [
            self.by_ad.values().copied().max().unwrap_or(0),
            self.clicks.values().copied().max().unwrap_or(0),
            self.ads.values().map(HashSet::len).max().unwrap_or(0),
        ]
    }

    /// Windows of the ad rule of which `dropped` holds more than the excess over the limit.
    pub fn overdone_by_ad(&self, dropped: &Self) -> usize {
        overdone(&self.by_ad, &dropped.by_ad, USER_AD_LIMIT)
    }

    /// The same for the click rule.
    pub fn overdone_clicks(&self, dropped: &Self) -> usize {
        overdone(&self.clicks, &dropped.clicks, USER_CLICK_LIMIT)
    }

    /// The same for the spread rule, of which the ads count.
    pub fn overdone_spread(&self, dropped: &Self) -> usize {
        let lengths =
            |ads: &HashMap<Key, HashSet<u64>>| ads.iter().map(|(key, ads)| (*key, ads.len())).collect();
        overdone(&lengths(&self.ads), &lengths(&dropped.ads), USER_SPREAD_LIMIT)
    }
}

fn overdone(all: &HashMap<Key, usize>, dropped: &HashMap<Key, usize>, limit: usize) -> usize {
    let is_overdone = |(key, dropped): &(&Key, &usize)| **dropped > all[*key].saturating_sub(limit);
    dropped.iter().filter(is_overdone).count()
}

/// True when the flood rule takes nothing from this window.
pub fn is_flood_free(lines: usize) -> bool {
    lines <= FLOOD_LIMIT
}

fn user_ad_key(event: &Event) -> Key {
    (event.user, event.ad, bucket(event.time_ms, MINUTE_MS))
}

fn click_key(event: &Event) -> Key {
    (event.user, 0, bucket(event.time_ms, MINUTE_MS))
}

fn spread_key(event: &Event) -> Key {
    (event.user, 0, bucket(event.time_ms, TEN_SECONDS_MS))
}
