//! Rules follow the configuration of the long-running job.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use weir_tests::{Ad, LongRun, Scratch, Taps, accounts_csv, now_ms};

const MINUTE: i64 = 60_000;

#[test]
fn data_centres_are_dropped_when_their_networks_are_given() {
    let from = |n, ip: &str| Ad { ip: ip.into(), ..Ad::click(n, now_ms()) };
    let ads = [
        from(0, "20.1.2.3"),
        from(1, "20.2.0.0"),
        from(2, "19.255.255.255"),
        from(3, "2001:db8::7"),
        from(4, "2001:db9::7"),
    ];
    let scratch = Scratch::new("datacenter");
    let networks = scratch.write("clouds.txt", "20.1.0.0/16\n2001:db8::/32\n");
    let sections = format!("[anti_brush]\ndatacenter_networks = [{networks:?}]\n");
    let (yes, no) = ("charged", "datacenter");
    assert_eq!(bill_with(&scratch, &sections, &ads), [no, yes, yes, no, yes]);
}

#[test]
fn thresholds_are_those_of_the_configuration() {
    // A minute that all of the events are in, whatever the clock says.
    let time = now_ms() / MINUTE * MINUTE - 1;
    let by = |user: &str, n, ad_id| Ad { user: user.into(), ad_id, ..Ad::click(n, time) };
    let from_one_ip = |n| Ad { ip: "20.30.40.50".into(), ad_id: 9, ..Ad::click(n, time) };
    let mut ads: Vec<Ad> = (0..3).map(from_one_ip).collect();
    ads.extend((3..7).map(|n| by("on one ad", n, 8)));
    ads.extend((7..12).map(|n| by("clicks", n, u64::from(n % 2))));
    ads.extend((12..15).map(|n| by("ads", n, u64::from(n))));
    let scratch = Scratch::new("thresholds");
    let sections = "[anti_brush]\nmax_per_ip_ad_minute = 2\n\n[anti_fraud]\nmax_user_ad_minute = 3\n\
                    max_user_clicks_minute = 4\nmax_user_ads_10s = 2\n";
    let mut outcomes = bill_with(&scratch, sections, &ads);
    // From several ips they arrive in any order.
    for group in [0..3, 3..7, 7..12, 12..15] {
        outcomes[group].sort();
    }
    let yes = "charged";
    assert_eq!(outcomes[..3], [yes, yes, "flood"]);
    assert_eq!(outcomes[3..7], [yes, yes, yes, "user_ad_rate"]);
    assert_eq!(outcomes[7..12], [yes, yes, yes, yes, "user_click_rate"]);
    assert_eq!(outcomes[12..], [yes, yes, "user_ad_spread"]);
}

#[test]
fn events_too_late_or_from_the_future_are_dropped() {
    let now = now_ms();
    let times = [now, now - 50 * MINUTE, now - 70 * MINUTE, now + 9 * MINUTE, now + 15 * MINUTE];
    let ads: Vec<Ad> = (0..).zip(times).map(|(n, time)| Ad::click(n, time)).collect();
    let scratch = Scratch::new("times");
    let sections = "[time]\nallowed_lateness = \"1h\"\nmax_ahead = \"12m\"\n";
    let outcomes = bill_with(&scratch, sections, &ads);
    assert_eq!(outcomes, ["charged", "charged", "too_late", "charged", "malformed"]);
}

/// What a job with these sections makes of each event.
#[track_caller]
fn bill_with(scratch: &Scratch, sections: &str, ads: &[Ad]) -> Vec<String> {
    let lines: Vec<String> = ads.iter().map(Ad::line).collect();
    let log = scratch.write("front.log", lines.concat());
    let csv = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
    let mut job = LongRun::new(scratch, &[log], &csv);
    job.configure(sections);
    job.expect(&lines);
    job.start();
    job.settle();
    job.stop("TERM");
    let taps = Taps::read(job.data_dir());
    ads.iter().map(|ad| outcome(&taps, &ad.guid)).collect()
}

fn outcome(taps: &Taps, guid: &str) -> String {
    if let Some(charge) = taps.charges.iter().find(|c| c.guid == guid) {
        return charge.reason.clone().unwrap_or(charge.outcome.clone());
    }
    let is_it = |d: &&weir_tests::Dropped| {
        d.guid.as_deref() == Some(guid) || d.raw.as_deref().is_some_and(|raw| raw.contains(guid))
    };
    taps.dropped.iter().find(is_it).map_or("lost".into(), |d| d.reason.clone())
}
