//! The level of access: token buckets for each client, for each source address, and for all together.

use crate::config::Ingest;
use foldhash::fast::RandomState;
use governor::clock::{Clock, DefaultClock};
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, InsufficientCapacity, NotUntil, Quota, RateLimiter,
};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Addresses share so many buckets, so that no flood of them takes more memory: some tens of MiB.
const BUCKETS: u64 = 1 << 20;

/// Who sends events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As its bearer token names it.
    pub client: Option<Arc<str>>,
    /// From where; behind trusted proxies, what they say.
    pub address: IpAddr,
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Which: `client`, `address` or `total`.
    pub by: &'static str,
    /// When to try again; never if so many are never taken at once.
    pub retry_after: Result<Duration, u32>,
}

/// The buckets; none where there is no limit.
pub struct Access {
    clients: Option<(DefaultKeyedRateLimiter<Arc<str>>, u32)>,
    addresses: Option<(DefaultKeyedRateLimiter<u32>, u32)>,
    total: Option<(DefaultDirectRateLimiter, u32)>,
    hasher: RandomState,
    clock: DefaultClock,
}

impl Access {
    /// As configured.
    pub fn new(options: &Ingest) -> Self {
        let quota = |rate: u32| {
            let (rate, burst) =
                (NonZeroU32::new(rate)?, NonZeroU32::new(rate.saturating_mul(options.burst_s))?);
            Some((Quota::per_second(rate).allow_burst(burst), burst.get()))
        };
        Access {
            clients: quota(options.client_events_s).map(|(quota, burst)| (RateLimiter::keyed(quota), burst)),
            addresses: quota(options.address_events_s)
                .map(|(quota, burst)| (RateLimiter::keyed(quota), burst)),
            total: quota(options.total_events_s).map(|(quota, burst)| (RateLimiter::direct(quota), burst)),
            hasher: RandomState::default(),
            clock: DefaultClock::default(),
        }
    }

    /// Lets so many events of a source in. The total comes last: who is over a limit of his own takes nothing of it.
    pub fn admit(&self, source: &Source, events: u32) -> Result<(), Limited> {
        let Some(events) = NonZeroU32::new(events) else { return Ok(()) };
        if let Some((addresses, burst)) = &self.addresses {
            self.judge("address", *burst, addresses.check_key_n(&self.bucket(source.address), events))?;
        }
        if let (Some((clients, burst)), Some(client)) = (&self.clients, &source.client) {
            self.judge("client", *burst, clients.check_key_n(client, events))?;
        }
        match &self.total {
            Some((total, burst)) => self.judge("total", *burst, total.check_n(events)),
            None => Ok(()),
        }
    }

    fn judge(
        &self,
        by: &'static str,
        burst: u32,
        verdict: Result<Result<(), NotUntil<<DefaultClock as Clock>::Instant>>, InsufficientCapacity>,
    ) -> Result<(), Limited> {
        match verdict {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(Limited { by, retry_after: Ok(until.wait_time_from(self.clock.now())) }),
            Err(_) => Err(Limited { by, retry_after: Err(burst) }),
        }
    }

    /// Whoever has a /64 of IPv6 has all of its addresses.
    fn bucket(&self, address: IpAddr) -> u32 {
        let key = match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => u128::from(v4.to_bits()),
                None => v6.to_bits() >> 64 << 64,
            },
        };
        (self.hasher.hash_one(key) % BUCKETS) as u32
    }

    /// Forgets whoever has not come lately; to be called every few seconds.
    pub fn tend(&self) {
        if let Some((clients, _)) = &self.clients {
            clients.retain_recent();
            clients.shrink_to_fit();
        }
        if let Some((addresses, _)) = &self.addresses {
            addresses.retain_recent();
            addresses.shrink_to_fit();
        }
    }

    #[cfg(test)]
    fn known(&self) -> usize {
        self.addresses.as_ref().map_or(0, |(addresses, _)| addresses.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(client: u32, address: u32, total: u32) -> Access {
        let options = Ingest {
            client_events_s: client,
            address_events_s: address,
            total_events_s: total,
            ..Ingest::default()
        };
        Access::new(&options)
    }

    fn source(client: Option<&str>, address: &str) -> Source {
        Source { client: client.map(Arc::from), address: address.parse().unwrap() }
    }

    #[test]
    fn each_client_and_address_has_a_bucket_of_its_own() {
        let access = access(10, 20, 0);
        let (a, b) = (source(Some("a"), "10.0.0.1"), source(Some("b"), "10.0.0.2"));
        assert_eq!(access.admit(&a, 20), Ok(()));
        let limited = access.admit(&a, 10).unwrap_err();
        assert_eq!(limited.by, "client");
        assert!(limited.retry_after.unwrap() <= Duration::from_secs(1));
        assert_eq!(access.admit(&b, 20), Ok(()), "another one is not held back");
        assert_eq!(access.admit(&source(None, "10.0.0.3"), 40), Ok(()));
        assert_eq!(access.admit(&source(None, "10.0.0.3"), 20).unwrap_err().by, "address");
    }

    #[test]
    fn who_is_over_his_own_limit_takes_nothing_of_the_total() {
        let access = access(0, 10, 15);
        let flood = source(None, "10.0.0.1");
        assert_eq!(access.admit(&flood, 20), Ok(()));
        (0..100).for_each(|_| assert_eq!(access.admit(&flood, 20).unwrap_err().by, "address"));
        assert_eq!(access.admit(&source(None, "10.0.0.2"), 10), Ok(()));
        assert_eq!(access.admit(&source(None, "10.0.0.3"), 10).unwrap_err().by, "total");
    }

    #[test]
    fn more_than_ever_fits_is_told_apart_from_too_early() {
        let access = access(0, 0, 10);
        let limited = access.admit(&source(None, "::1"), 21).unwrap_err();
        assert_eq!(limited, Limited { by: "total", retry_after: Err(20) });
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_forgotten() {
        let access = access(0, 1000, 0);
        let from = |n: u32| Source { client: None, address: IpAddr::from(n.to_be_bytes()) };
        (0..200_000).for_each(|n| assert_eq!(access.admit(&from(n), 1), Ok(())));
        assert!(access.known() <= BUCKETS as usize);
        std::thread::sleep(Duration::from_millis(50));
        access.tend();
        assert_eq!(access.known(), 0);
        let neighbours = [source(None, "2001:db8::1"), source(None, "2001:db8::ffff")];
        assert_eq!(access.bucket(neighbours[0].address), access.bucket(neighbours[1].address));
    }

    #[test]
    fn without_limits_everything_passes() {
        let access = access(0, 0, 0);
        assert_eq!(access.admit(&source(Some("a"), "::1"), u32::MAX), Ok(()));
    }
}
