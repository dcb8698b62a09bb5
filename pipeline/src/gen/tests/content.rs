use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::agents::{PEOPLE, ROBOTS};
use super::Run;

fn is_robot(agent: &str) -> bool {
    let agent = agent.to_lowercase();
    let words = ["bot", "spider", "crawl", "curl/", "python-requests", "headless"];
    words.iter().any(|word| agent.contains(word))
}

#[track_caller]
fn assert_share(count: u64, of: u64, share: f64) {
    let actual = count as f64 / of as f64;
    assert!((actual / share - 1.0).abs() < 0.15, "{actual}, not {share}");
}

#[test]
fn rates_and_line_length_are_as_asked() {
    let report = Run::new("--events 300000 --malformed-rate 0.01").report;
    assert_eq!(report.lines, 300_000);
    assert_share(report.duplicates, report.lines, 0.02);
    assert_share(report.fraud, report.lines, 0.05);
    assert_share(report.bots, report.lines, 0.03);
    assert_share(report.malformed, report.lines, 0.01);
    assert_share(report.bytes, report.lines, 440.0);
    let unique = report.lines - report.duplicates - report.malformed;
    assert_eq!(report.clicks + report.impressions, unique);
}

#[test]
fn every_line_parses_unless_it_is_malformed() {
    let fields = "guid event_time_ms kind user_id ip ua ad_id campaign_id advertiser_id slot region \
        channel app_version bid_micros billing";
    let run = Run::new("--events 30000 --malformed-rate 0.02");
    let mut malformed = 0;
    let mut duplicates = 0;
    let mut guids = HashSet::new();
    for line in run.lines() {
        let well_formed = serde_json::from_str::<Value>(&line)
            .ok()
            .filter(|event| event["guid"].is_string() && event["bid_micros"].is_u64());
        let Some(event) = well_formed else {
            malformed += 1;
            continue;
        };
        let places = fields.split_whitespace().map(|field| line.find(&format!("\"{field}\":")).unwrap());
        assert!(places.is_sorted());
        assert_eq!(event.as_object().unwrap().len(), 15);
        let is_click = event["kind"] == "click";
        assert_eq!(event["billing"], if is_click { "cpc" } else { "cpm" });
        let guid = event["guid"].as_str().unwrap().to_owned();
        assert_eq!(ulid_ms(&guid), event["event_time_ms"].as_u64().unwrap());
        duplicates += u64::from(!guids.insert(guid));
    }
    assert_eq!(malformed, run.report.malformed);
    assert_eq!(duplicates, run.report.duplicates);
}

fn ulid_ms(guid: &str) -> u64 {
    let digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let time = guid[..10].chars();
    time.fold(0, |ms, c| ms * 32 + digits.find(c).unwrap() as u64)
}

#[test]
fn duplicates_are_equal_lines_of_one_file_and_disorder_is_bounded() {
    let run = Run::new("--events 30000 --malformed-rate 0 --disorder 2");
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (file, name) in ["events-0.ndjson", "events-1.ndjson"].iter().enumerate() {
        let mut latest = 0;
        for line in run.text(name).lines() {
            let time = serde_json::from_str::<Value>(line).unwrap()["event_time_ms"].as_u64();
            let time = time.unwrap();
            match seen.insert(line.to_owned(), file) {
                Some(first_file) => assert_eq!(first_file, file),
                None => assert!(time + 2_000 > latest),
            }
            latest = latest.max(time);
        }
    }
}

#[test]
fn one_advertiser_is_hot_and_about_one_in_twenty_runs_dry() {
    let run = Run::new("--events 200000 --advertisers 400 --malformed-rate 0");
    let mut lines = HashMap::new();
    let mut demand_nanos = HashMap::new();
    let mut seen = HashSet::new();
    for line in run.lines() {
        let event: Value = serde_json::from_str(&line).unwrap();
        let advertiser = event["advertiser_id"].as_u64().unwrap();
        *lines.entry(advertiser).or_insert(0) += 1;
        if seen.insert(line) && !is_robot(event["ua"].as_str().unwrap()) {
            let per_event = if event["billing"] == "cpc" { 1_000 } else { 1 };
            let cost = event["bid_micros"].as_u64().unwrap() * per_event;
            *demand_nanos.entry(advertiser).or_insert(0) += cost;
        }
    }
    assert_share(lines[&1], 200_000, 0.14);

    let accounts = run.accounts();
    let dry: Vec<u64> =
        (1..=400).filter(|id| accounts[id].0.min(accounts[id].1) < demand_nanos[id] / 1_000).collect();
    assert_eq!(dry.len(), 20);
    assert!(!dry.contains(&1));
    assert_eq!((run.report.dry_by_balance, run.report.dry_by_daily_budget), (10, 10));
    let shares = dry.iter().map(|id| {
        let (budget, balance) = accounts[id];
        budget.min(balance) as f64 / (demand_nanos[id] / 1_000) as f64
    });
    // Frauds, a twentieth of the lines in lumps, are in the demand of this test.
    assert!(shares.into_iter().all(|share| (0.1..0.81).contains(&share)));
}

#[test]
fn a_hot_share_goes_to_one_advertiser_and_the_rest_is_even() {
    let run = Run::new("--events 100000 --advertisers 51 --fraud-rate 0 --malformed-rate 0 --hot-share 0.5");
    let mut lines = HashMap::new();
    for line in run.lines() {
        let event: Value = serde_json::from_str(&line).unwrap();
        *lines.entry(event["advertiser_id"].as_u64().unwrap()).or_insert(0) += 1;
    }
    assert_share(lines[&1], 100_000, 0.5);
    (2..=51).for_each(|other| assert_share(lines[&other], 100_000, 0.01));
}

#[test]
fn only_robots_have_the_words_of_robots() {
    assert!(ROBOTS.iter().all(|agent| is_robot(agent)));
    assert!(!PEOPLE.iter().any(|agent| is_robot(agent)));
}
