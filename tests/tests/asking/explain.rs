//! `weir explain`: the life of one event, whatever became of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_tests::{Ad, Dataset, Done, Job, Scratch, Weir, accounts_csv, weir};

/// 2026-03-10T08:00:00Z.
const START_MS: i64 = 1_773_129_600_000;

/// The lines of the data set, by what becomes of them.
struct Events {
    charged: Ad,
    refused: Ad,
    twice: Ad,
    flood: Vec<Ad>,
    bot: Ad,
    text: Ad,
}

impl Events {
    fn new() -> Self {
        let at = |n: u32| START_MS + i64::from(n) * 20_000;
        let flood = |n| Ad { ip: "20.30.40.50".into(), ad_id: 9, ..Ad::click(n, at(5)).paid_by(2) };
        Events {
            charged: Ad::click(1, at(1)),
            refused: Ad::click(2, at(2)).paid_by(3),
            twice: Ad::click(3, at(3)),
            flood: (10..22).map(flood).collect(),
            bot: Ad { ua: "Googlebot/2.1".into(), ..Ad::click(4, at(6)) },
            text: Ad { guid: "order-4711".into(), ..Ad::click(5, at(7)) },
        }
    }

    fn lines(&self) -> Vec<String> {
        let Events { charged, refused, twice, flood, bot, text } = self;
        let filler = (100..300).map(|n| Ad::click(n, START_MS + i64::from(n) * 700));
        let mut ads = vec![charged.clone(), refused.clone(), twice.clone()];
        ads.extend(flood.iter().cloned());
        ads.extend([bot.clone(), text.clone()]);
        ads.extend(filler);
        ads.push(Ad { event_time_ms: (START_MS + 150_000).to_string(), ..twice.clone() });
        let mut lines: Vec<String> = ads.iter().map(Ad::line).collect();
        lines.push("{\"guid\":\"broken-1\",\"user_id\":\"secret\"}\n".to_owned());
        lines
    }
}

fn finished(scratch: &Scratch) -> (Events, PathBuf) {
    let events = Events::new();
    let plenty = 1_000_000_000;
    let csv = accounts_csv(&[(1, plenty, plenty), (2, plenty, plenty), (3, plenty, 1)]);
    let dataset = Dataset::of(scratch, &events.lines(), &csv);
    let job = Job::new(&dataset, scratch.path("data")).partitions(4);
    job.run();
    (events, job.data_dir)
}

#[test]
fn every_kind_of_life_is_told() {
    let scratch = Scratch::new("explain-lives");
    let (events, data) = finished(&scratch);

    let charged = last_step(&explained(&data, &events.charged.guid, &[]), 0);
    assert_eq!((&charged["stage"], &charged["decision"]), (&"deduct".into(), &"charged".into()));
    let [before, after, amount] = [
        &charged["balance_before_nanos"],
        &charged["record"]["balance_after_nanos"],
        &charged["record"]["amount_nanos"],
    ]
    .map(|n| n.as_i64().unwrap());
    assert_eq!((before - after, amount), (250_000_000, 250_000_000));

    let refused = last_step(&explained(&data, &events.refused.guid, &[]), 0);
    assert_eq!(
        (&refused["decision"], &refused["reason"]),
        (&"refused".into(), &"insufficient_balance".into())
    );
    assert_eq!(refused["balance_before_nanos"], refused["record"]["balance_after_nanos"]);

    let bot = last_step(&explained(&data, &events.bot.guid, &[]), 0);
    assert_eq!((&bot["stage"], &bot["reason"]), (&"anti-brush".into(), &"bot".into()));

    let flood = last_step(&explained(&data, &events.flood[11].guid, &[]), 0);
    assert_eq!((&flood["decision"], &flood["reason"]), (&"dropped".into(), &"flood".into()));
    assert!(flood["rule"].as_str().unwrap().contains("max_per_ip_ad_minute"), "{flood}");

    let text = explained(&data, "order-4711", &["--advertiser", "1"]);
    assert_eq!(last_step(&text, 0)["decision"], "charged");
}

#[test]
fn a_repeat_names_the_decision_that_it_repeats() {
    let scratch = Scratch::new("explain-repeats");
    let (events, data) = finished(&scratch);
    let story = explained(&data, &events.twice.guid, &[]);
    assert_eq!(story["copies"].as_array().unwrap().len(), 2);
    let (first, second) = (last_step(&story, 0), last_step(&story, 1));
    assert_eq!((&first["decision"], &second["reason"]), (&"charged".into(), &"duplicate".into()));
    assert_eq!(second["earlier"], first["record"]);
}

#[test]
fn the_line_is_found_and_shown_to_those_who_may_see_it() {
    let scratch = Scratch::new("explain-lines");
    let (events, data) = finished(&scratch);
    let masked = explained(&data, &events.charged.guid, &[]);
    let line = &masked["copies"][0]["line"];
    assert!(line["path"].as_str().unwrap().ends_with("events.ndjson") && line["byte"] == 0, "{line}");
    assert!(!masked.to_string().contains(&events.charged.user), "users are masked");
    let plain = explained(&data, &events.bot.guid, &["--unmasked"]);
    let line = &plain["copies"][0]["line"];
    assert_eq!(line["text"].as_str().unwrap().to_owned() + "\n", events.bot.line());

    let broken = explained(&data, "broken-1", &[]);
    assert!(broken["copies"].as_array().unwrap().is_empty());
    assert_eq!(broken["unread"][0]["record"]["reason"], "malformed");
    assert!(!broken.to_string().contains("secret"));
    assert!(explained(&data, "broken-1", &["--unmasked"]).to_string().contains("secret"));
    std::fs::remove_file(scratch.path("events.ndjson")).unwrap();
    let gone = explained(&data, &events.charged.guid, &[]);
    assert!(gone["copies"][0]["line"]["problem"].as_str().unwrap().contains("not there any more"));
}

#[test]
fn people_read_it_from_top_to_bottom() {
    let scratch = Scratch::new("explain-text");
    let (events, data) = finished(&scratch);
    let text = explain(&data, &events.charged.guid, &[]).ok().stdout;
    let mut rest = text.as_str();
    for part in [
        "2026-03-10T08:00:20.000Z",
        "line",
        "collect",
        "anti-brush",
        "anti-fraud",
        "deduct",
        "charged",
        "balance",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part} in its place: {text}"));
        rest = &rest[at..];
    }
    explain(&data, "nobody", &[])
        .refused(&[1], &["no event with this guid", "raw partition 0 from offset 0"]);
    explain(&data, &events.charged.guid, &["--advertiser", "9"]).refused(&[1], &["of advertiser 9"]);
    explain(&data, "", &[]).refused(&[2], &["255 bytes"]);
    explain(&scratch.path("nowhere"), "x", &[]).refused(&[1], &["--data-dir"]);
}

#[test]
fn other_generations_tell_what_they_made_of_it() {
    let scratch = Scratch::new("explain-generations");
    let (events, data) = finished(&scratch);
    let rules = scratch.write("rules.toml", "[anti_brush]\nbots = false\nmax_per_ip_ad_minute = 1\n");
    let mut rewind = weir();
    rewind.args(["rewind", "--to", "2026-03-10T08:01Z", "--apply", "--data-dir"]).arg(&data);
    Weir::start(rewind.arg("--rules").arg(&rules)).wait().ok();

    let story = explained(&data, &events.bot.guid, &[]);
    let lives = story["copies"][0]["lives"].as_array().unwrap();
    assert_eq!((lives.len(), &story["published"]), (2, &2.into()), "{story}");
    assert_eq!((&lives[0]["generation"], &lives[0]["standing"]), (&2.into(), &"published".into()));
    assert_eq!(last_step(&story, 0)["decision"], "charged");
    assert_eq!(lives[1]["steps"][0]["reason"], "bot");
    assert_eq!(story["adjustments"][0]["adjustment"], "charge");

    // Other rules do not touch it: it is charged in whatever generation decided it.
    let same = explained(&data, &events.charged.guid, &[]);
    for life in same["copies"][0]["lives"].as_array().unwrap() {
        assert_eq!(life["steps"].as_array().unwrap().last().unwrap()["decision"], "charged");
    }
    assert!(same["adjustments"].as_array().unwrap().is_empty());
    let reversed = explained(&data, &events.flood[5].guid, &[]);
    assert_eq!(reversed["adjustments"][0]["adjustment"], "reversal");
    assert_eq!(last_step(&reversed, 0)["reason"], "flood");
}

fn explain(data: &Path, guid: &str, more: &[&str]) -> Done {
    let mut command = weir();
    command.arg("explain").arg(guid).arg("--data-dir").arg(data).args(more);
    Weir::start(&mut command).wait()
}

#[track_caller]
fn explained(data: &Path, guid: &str, more: &[&str]) -> Value {
    let done = explain(data, guid, &[more, &["--json"]].concat()).ok();
    serde_json::from_str(&done.stdout).unwrap()
}

/// The last step of a copy in the published generation.
fn last_step(story: &Value, copy: usize) -> Value {
    story["copies"][copy]["lives"][0]["steps"].as_array().unwrap().last().unwrap().clone()
}
