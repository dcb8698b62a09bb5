//! Each filter rule at its threshold: the last event that passes and the first that does not.

use weir_tests::{Ad, bill};

/// 2026-03-10T08:00:00Z, the start of a minute.
const T: i64 = 1_773_129_600_000;
const RICH: [(u64, i64, i64); 1] = [(1, 1_000_000_000_000, 1_000_000_000_000)];

#[test]
fn the_eleventh_line_of_an_ip_and_ad_in_a_minute_is_a_flood() {
    let mut ads: Vec<Ad> = (0..12).map(|n| on_one_ad_from_one_ip(n, T + 59_988)).collect();
    ads.push(on_one_ad_from_one_ip(12, T + 60_000));
    let outcomes = bill("flood", &ads, &RICH);
    assert_eq!(outcomes[..10], ["charged"; 10]);
    assert_eq!(outcomes[10..], ["flood", "flood", "charged"], "11th, 12th, and the next minute's");
}

#[test]
fn another_ad_or_another_ip_has_a_window_of_its_own() {
    let mut ads: Vec<Ad> = (0..10).map(|n| on_one_ad_from_one_ip(n, T)).collect();
    ads.push(Ad { ad_id: 5, ..on_one_ad_from_one_ip(10, T) });
    ads.push(Ad { ip: "12.0.0.1".into(), ..on_one_ad_from_one_ip(11, T) });
    assert_eq!(bill("windows", &ads, &RICH), ["charged"; 12]);
}

#[test]
fn a_robot_is_dropped_and_fills_no_window() {
    let robot = |n| Ad {
        ua: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)".into(),
        ..on_one_ad_from_one_ip(n, T)
    };
    let mut ads: Vec<Ad> = (0..12).map(robot).collect();
    ads.extend((12..22).map(|n| on_one_ad_from_one_ip(n, T)));
    let outcomes = bill("robot", &ads, &RICH);
    assert_eq!(outcomes[..12], ["bot"; 12]);
    assert_eq!(outcomes[12..], ["charged"; 10]);
}

#[test]
fn a_repeated_line_fills_the_flood_window_like_any_other() {
    let once: Vec<Ad> = (0..6).map(|n| on_one_ad_from_one_ip(n, T)).collect();
    let twice = [once.clone(), once].concat();
    let outcomes = bill("repeats-flood", &twice, &RICH);
    assert_eq!(outcomes[..4], ["charged duplicate"; 4], "lines 7 to 10 repeat the first four");
    assert_eq!(outcomes[4..6], ["charged flood"; 2], "lines 11 and 12 are over the limit");
}

#[test]
fn the_eleventh_event_of_a_user_on_an_ad_in_a_minute_is_dropped() {
    let mut ads: Vec<Ad> = (0..12).map(|n| by_one_user_on_one_ad(n, T)).collect();
    ads.push(by_one_user_on_one_ad(12, T + 60_000));
    let outcomes = bill("user-ad", &ads, &RICH);
    assert_eq!(outcomes[..10], ["charged"; 10]);
    assert_eq!(outcomes[10..], ["user_ad_rate", "user_ad_rate", "charged"]);
}

#[test]
fn a_repeated_event_is_not_counted_again_for_its_user() {
    let first: Vec<Ad> = (0..6).map(|n| by_one_user_on_one_ad(n, T)).collect();
    let rest: Vec<Ad> = (6..10).map(|n| by_one_user_on_one_ad(n, T)).collect();
    let outcomes = bill("repeats-user", &[first.clone(), first, rest].concat(), &RICH);
    assert_eq!(outcomes[..12], ["charged duplicate"; 12]);
    assert_eq!(outcomes[12..], ["charged"; 4]);
}

#[test]
fn an_event_once_judged_fraudulent_stays_so() {
    let mut ads: Vec<Ad> = (0..11).map(|n| by_one_user_on_one_ad(n, T)).collect();
    ads.extend((100..110).map(|n| Ad::click(n, T + 500_000)));
    ads.push(ads[10].clone());
    let outcomes = bill("stays", &ads, &RICH);
    assert_eq!(outcomes[21], "user_ad_rate user_ad_rate", "the same verdict eight minutes later");
}

#[test]
fn the_hundred_and_first_click_of_a_user_in_a_minute_is_dropped() {
    let by_user = |ad: Ad, n: u32| Ad { user: "u1".into(), ad_id: u64::from(n % 25), ..ad };
    let mut ads: Vec<Ad> = (0..103).map(|n| by_user(Ad::click(n, T + i64::from(n) * 550), n)).collect();
    ads.extend((200..203).map(|n| by_user(Ad::impression(n, T + 58_000), n)));
    ads.push(by_user(Ad::click(300, T + 60_000), 300));
    let outcomes = bill("clicks", &ads, &RICH);
    assert_eq!(outcomes[..100], ["charged"; 100]);
    assert_eq!(outcomes[100..103], ["user_click_rate"; 3]);
    assert_eq!(outcomes[103..], ["charged"; 4], "impressions and the next minute's click");
}

#[test]
fn the_fifty_first_ad_of_a_user_in_ten_seconds_is_dropped() {
    let by_user = |n, time_ms| Ad { user: "u1".into(), ..Ad::impression(n, time_ms) };
    let mut ads: Vec<Ad> = (0..53).map(|n| by_user(n, T + 9_999)).collect();
    ads.extend((53..103).map(|n| by_user(n, T + 10_000)));
    let outcomes = bill("spread", &ads, &RICH);
    assert_eq!(outcomes[..50], ["charged"; 50]);
    assert_eq!(outcomes[50..53], ["user_ad_spread"; 3]);
    assert_eq!(outcomes[53..], ["charged"; 50], "the next ten seconds have a window of their own");
}

#[test]
fn what_a_flood_lost_does_not_count_for_its_user() {
    let flood = |n| Ad { user: "u1".into(), ..on_one_ad_from_one_ip(n, T) };
    let mut ads: Vec<Ad> = (0..8).map(|n| on_one_ad_from_one_ip(n, T)).collect();
    ads.extend((8..18).map(flood));
    ads.extend((18..26).map(|n| Ad { user: "u1".into(), ad_id: 9, ..Ad::click(n, T) }));
    let outcomes = bill("flood-first", &ads, &RICH);
    assert_eq!(outcomes[..10], ["charged"; 10]);
    assert_eq!(outcomes[10..18], ["flood"; 8]);
    assert_eq!(outcomes[18..], ["charged"; 8], "two of the flood came through to this user");
}

fn on_one_ad_from_one_ip(n: u32, time_ms: i64) -> Ad {
    Ad { ip: "20.30.40.50".into(), ad_id: 9, ..Ad::click(n, time_ms) }
}

fn by_one_user_on_one_ad(n: u32, time_ms: i64) -> Ad {
    Ad { user: "u1".into(), ad_id: 9, ..Ad::click(n, time_ms) }
}
