//! How many connections there are, in total and from each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the connections of a port.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    of: HashMap<IpAddr, usize>,
}

/// Why a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    InTotal,
    FromOneAddress,
}

impl TooMany {
    /// As metrics name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            TooMany::InTotal => "total",
            TooMany::FromOneAddress => "address",
        }
    }
}

/// A connection that counts for as long as this is held.
#[derive(Debug)]
pub(super) struct Counted {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    pub(super) fn new(most: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Connections { most, per_address, open: Mutex::default() })
    }

    /// Counts a connection, unless it is one too many.
    pub(super) fn count(self: &Arc<Self>, address: IpAddr) -> Result<Counted, TooMany> {
        let address = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.most {
            return Err(TooMany::InTotal);
        }
        if open.of.get(&address).is_some_and(|n| *n >= self.per_address) {
            return Err(TooMany::FromOneAddress);
        }
        open.total += 1;
        *open.of.entry(address).or_default() += 1;
        Ok(Counted { connections: self.clone(), address })
    }

    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(n) = open.of.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                open.of.remove(&self.address);
            }
        }
    }
}

/// Whoever has one address of IPv6 has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_per_network_until_they_are_dropped() {
        let connections = Connections::new(3, 2);
        let count = |address: &str| connections.count(address.parse().unwrap());
        let _one = count("2001:db8::1").unwrap();
        let two = count("2001:db8::2").unwrap();
        assert_eq!(count("2001:db8::3").unwrap_err(), TooMany::FromOneAddress);
        let _v4 = count("::ffff:10.0.0.1").unwrap();
        assert_eq!(count("10.0.0.2").unwrap_err(), TooMany::InTotal);
        drop(two);
        let _again = count("10.0.0.1").unwrap();
        assert_eq!(connections.total(), 3);
    }
}
