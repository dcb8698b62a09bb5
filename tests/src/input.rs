//! What went in: the log lines and the accounts, read without the help of the code under test.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use crate::job::Dataset;
use crate::rules::{is_robot, price_nanos};

/// 2000-01-01 and 2100-01-01: an event outside of these years is not one.
const PLAUSIBLE_MS: std::ops::Range<i64> = 946_684_800_000..4_102_444_800_000;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    guid: Cow<'a, str>,
    event_time_ms: i64,
    kind: Cow<'a, str>,
    user_id: Cow<'a, str>,
    ip: Cow<'a, str>,
    ua: Cow<'a, str>,
    ad_id: u64,
    advertiser_id: u64,
    bid_micros: u64,
    billing: Cow<'a, str>,
}

/// A well-formed line. Users and ips are hashes, as only their equality counts.
#[derive(Clone, Debug)]
pub struct Event {
    /// Index of the guid in [`Input::guids`].
    pub guid: usize,
    /// When it happened.
    pub time_ms: i64,
    /// Who did it.
    pub user: u64,
    /// Where from.
    pub ip: u64,
    /// The ad.
    pub ad: u64,
    /// Who pays.
    pub advertiser: u64,
    /// A click rather than an impression.
    pub is_click: bool,
    /// The user agent is a robot's.
    pub is_bot: bool,
    /// What it costs, if it is billable.
    pub nanos: Option<i128>,
}

/// The money of an advertiser at the start.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// Most that may be charged for the events of one UTC day.
    pub daily_budget_nanos: i128,
    /// All that may be charged.
    pub balance_nanos: i128,
}

/// All lines of a job's input.
#[derive(Default)]
pub struct Input {
    /// Number of lines.
    pub lines: usize,
    /// Lines that are no events.
    pub malformed: usize,
    /// The well-formed lines, repeats included.
    pub events: Vec<Event>,
    /// Each guid once.
    pub guids: Vec<String>,
    /// The accounts by advertiser.
    pub accounts: BTreeMap<u64, Account>,
    index: HashMap<String, usize>,
}

impl Input {
    /// Reads generated files.
    pub fn read(dataset: &Dataset) -> Self {
        let mut input = Self::default();
        for path in &dataset.files {
            input.read_log(path);
        }
        input.read_accounts(&std::fs::read_to_string(&dataset.accounts).unwrap());
        input
    }

    /// Takes lines and accounts that a test wrote itself.
    pub fn of(lines: &[String], accounts: &str) -> Self {
        let mut input = Self::default();
        for line in lines {
            input.add(line.as_bytes());
        }
        input.read_accounts(accounts);
        input
    }

    /// The event that first had a guid, and how many lines repeat it, for every guid in order.
    pub fn first_lines(&self) -> Vec<(&Event, usize)> {
        let mut first: Vec<(&Event, usize)> = Vec::with_capacity(self.guids.len());
        for event in &self.events {
            match first.get_mut(event.guid) {
                Some((_, repeats)) => *repeats += 1,
                None => first.push((event, 0)),
            }
        }
        first
    }

    /// The index of a guid in [`Input::guids`].
    pub fn guid(&self, guid: &str) -> Option<usize> {
        self.index.get(guid).copied()
    }

    fn read_log(&mut self, path: &Path) {
        let mut file = BufReader::with_capacity(1 << 18, std::fs::File::open(path).unwrap());
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line).unwrap() > 0 {
            self.add(&line);
            line.clear();
        }
    }

    fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        match serde_json::from_slice::<Line<'_>>(line) {
            Ok(line) if is_event(&line) => {
                let event = self.event(&line);
                self.events.push(event);
            }
            _ => self.malformed += 1,
        }
    }

    fn event(&mut self, line: &Line<'_>) -> Event {
        let hash = |text: &str| BuildHasherDefault::<DefaultHasher>::default().hash_one(text);
        Event {
            guid: self.index_of(&line.guid),
            time_ms: line.event_time_ms,
            user: hash(&line.user_id),
            ip: hash(&line.ip),
            ad: line.ad_id,
            advertiser: line.advertiser_id,
            is_click: line.kind == "click",
            is_bot: is_robot(&line.ua),
            nanos: price_nanos(&line.kind, &line.billing, line.bid_micros),
        }
    }

    fn index_of(&mut self, guid: &str) -> usize {
        if let Some(index) = self.index.get(guid) {
            return *index;
        }
        let index = self.guids.len();
        self.guids.push(guid.to_owned());
        self.index.insert(guid.to_owned(), index);
        index
    }

    fn read_accounts(&mut self, csv: &str) {
        for row in csv.lines().skip(1) {
            let numbers: Vec<i128> = row.split(',').map(|n| n.parse().unwrap()).collect();
            let account =
                Account { daily_budget_nanos: numbers[1] * 1_000, balance_nanos: numbers[2] * 1_000 };
            let advertiser = numbers[0].try_into().unwrap();
            self.accounts.insert(advertiser, account);
        }
    }
}

fn is_event(line: &Line<'_>) -> bool {
    let kind_known = matches!(&*line.kind, "click" | "impression");
    let billing_known = matches!(&*line.billing, "cpc" | "cpm");
    let time_plausible = PLAUSIBLE_MS.contains(&line.event_time_ms);
    kind_known && billing_known && time_plausible && !line.guid.is_empty()
}
