//! Who sees which ad from where.

use std::net::Ipv4Addr;

use super::line::{ADS_PER_CAMPAIGN, Ad, CAMPAIGNS};
use super::random::{Random, Zipf, hash};

const HOT_ADVERTISER_SHARE: f64 = 0.14;
const ROAMING_SHARE: f64 = 0.1;

#[derive(Clone, Copy)]
pub(super) struct Visit {
    pub user: u32,
    pub ip: Ipv4Addr,
    pub ad: Ad,
}

/// The users and the advertisers that want to reach them.
pub(super) struct Audience {
    user_count: u32,
    users: Zipf,
    /// All but the hot one. Empty when there is only that.
    other_count: u32,
    /// Skewed; `None` draws them evenly.
    others: Option<Zipf>,
    hot_share: f64,
}

impl Audience {
    pub fn new(users: u32, advertisers: u32, hot_share: Option<f64>) -> Self {
        let other_count = advertisers.saturating_sub(1);
        Self {
            user_count: users,
            // Without the shift the first user alone would trip every limit on clicks.
            users: Zipf::new(users, 1.05, 1_000.0),
            other_count,
            others: hot_share.is_none().then(|| Zipf::new(other_count, 1.1, 1.5)),
            hot_share: hot_share.unwrap_or(HOT_ADVERTISER_SHARE),
        }
    }

    pub fn visit(&self, random: &mut Random) -> Visit {
        let user = self.users.rank(random);
        let ip = match random.chance(ROAMING_SHARE) {
            true => public_ip(random.bits()),
            // Two of three users share an ip.
            false => public_ip(hash(u64::from(user) * 2 / 3, "home")),
        };
        let ad = self.ad(CAMPAIGNS, random);
        Visit { user, ip, ad }
    }

    /// An ad of one of the first `campaigns` campaigns of some advertiser.
    pub fn ad(&self, campaigns: u8, random: &mut Random) -> Ad {
        let hot = self.other_count == 0 || random.chance(self.hot_share);
        Ad {
            advertiser: match hot {
                true => 0,
                false => 1 + self.other(random),
            },
            campaign: random.below(campaigns.into()) as u8,
            number: random.below(ADS_PER_CAMPAIGN.into()) as u8,
        }
    }

    fn other(&self, random: &mut Random) -> u32 {
        match &self.others {
            Some(skewed) => skewed.rank(random),
            None => random.below(self.other_count.into()) as u32,
        }
    }

    /// A user drawn evenly, busy or not.
    pub fn any_user(&self, random: &mut Random) -> u32 {
        random.below(self.user_count.into()) as u32
    }
}

/// An address from 11.0.0.1 to 99.255.255.254, where no block is private or loopback.
pub(super) fn public_ip(bits: u64) -> Ipv4Addr {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    Ipv4Addr::new(11 + a % 89, b, c, 1 + d % 254)
}
