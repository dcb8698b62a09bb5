//! The rules as the manual states them, with their default thresholds.

/// A rule that looks at the user agent finds one of these words in that of a robot.
const ROBOT_WORDS: [&str; 6] = ["bot", "spider", "crawl", "curl/", "python-requests", "headless"];

/// Most lines of one ip and ad in a minute.
pub const FLOOD_LIMIT: usize = 10;
/// Most events of one user and ad in a minute.
pub const USER_AD_LIMIT: usize = 10;
/// Most clicks of one user in a minute.
pub const USER_CLICK_LIMIT: usize = 100;
/// Most ads of one user in ten seconds.
pub const USER_SPREAD_LIMIT: usize = 50;

/// Length of most windows.
pub const MINUTE_MS: i64 = 60_000;
/// Length of the window of the spread rule.
pub const TEN_SECONDS_MS: i64 = 10_000;
/// Length of the window of a daily budget.
pub const DAY_MS: i64 = 86_400_000;

/// The window of `length_ms` in which a time lies.
pub fn bucket(time_ms: i64, length_ms: i64) -> i64 {
    time_ms.div_euclid(length_ms)
}

/// True for the user agents of robots that the tests use.
pub fn is_robot(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    ROBOT_WORDS.iter().any(|word| agent.contains(word))
}

/// What an event costs: a click its bid, an impression a thousandth of it; nothing else is billable.
pub fn price_nanos(kind: &str, billing: &str, bid_micros: u64) -> Option<i128> {
    let bid = i128::from(bid_micros);
    match (kind, billing) {
        ("click", "cpc") => Some(bid * 1_000),
        ("impression", "cpm") => Some(bid),
        _ => None,
    }
}

/// Why an event was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Reason {
    /// The line is not an event.
    Malformed,
    /// The user agent is a robot's.
    Bot,
    /// The ip belongs to a data centre.
    Datacenter,
    /// Too many lines of one ip and ad.
    Flood,
    /// Too many events of one user and ad.
    UserAdRate,
    /// Too many clicks of one user.
    UserClickRate,
    /// Too many ads of one user.
    UserAdSpread,
    /// The event was charged or refused before.
    Duplicate,
    /// The event came after its time was closed.
    TooLate,
    /// Neither a click paid per click nor an impression paid per thousand.
    NotBillable,
}

impl Reason {
    /// Every reason, in flow order.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Malformed, "malformed"),
        (Self::Bot, "bot"),
        (Self::Datacenter, "datacenter"),
        (Self::Flood, "flood"),
        (Self::UserAdRate, "user_ad_rate"),
        (Self::UserClickRate, "user_click_rate"),
        (Self::UserAdSpread, "user_ad_spread"),
        (Self::Duplicate, "duplicate"),
        (Self::TooLate, "too_late"),
        (Self::NotBillable, "not_billable"),
    ];

    /// The reasons that one user's behaviour gives.
    pub const BY_USER: [Self; 3] = [Self::UserAdRate, Self::UserClickRate, Self::UserAdSpread];

    /// The reason of that name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, n)| *n == name);
        found.map(|(reason, _)| *reason)
    }
}
