//! What belongs to each of some networks: the value of the smallest one that an address is in.

use super::Range;
use hashbrown::HashSet;
use std::cmp::Reverse;
use std::net::IpAddr;

/// First and last address of a network, and what belongs to it.
type Entry<T, V> = (T, T, V);

/// Where an address space changes what it belongs to, in rising order: from each address on, up to the next one.
type Steps<T, V> = Vec<(T, Option<V>)>;

/// Why a network cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitNetwork {
    /// It is something else.
    #[error("it is not an address or a network such as 192.0.2.0/24 or 2001:db8::/32")]
    NotOne,
    /// It was added before.
    #[error("the network stands there twice")]
    Twice,
}

/// A table of networks that is being made.
#[derive(Clone, Debug)]
pub struct NetworkMapBuilder<V> {
    seen: HashSet<Range>,
    v4: Vec<Entry<u32, V>>,
    v6: Vec<Entry<u128, V>>,
}

/// A table of networks. As in [`super::Networks`], a mapped IPv4 address is the IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkMap<V> {
    v4: Steps<u32, V>,
    v6: Steps<u128, V>,
}

impl<V> Default for NetworkMapBuilder<V> {
    fn default() -> Self {
        NetworkMapBuilder { seen: HashSet::new(), v4: Vec::new(), v6: Vec::new() }
    }
}

impl<V: Clone + PartialEq> NetworkMapBuilder<V> {
    /// Adds a network, or an address, as people write it.
    pub fn add(&mut self, network: &str, value: V) -> Result<(), UnfitNetwork> {
        let range = Range::parse(network).ok_or(UnfitNetwork::NotOne)?;
        if !self.seen.insert(range) {
            return Err(UnfitNetwork::Twice);
        }
        match range {
            Range::V4(first, last) => self.v4.push((first, last, value)),
            Range::V6(first, last) => self.v6.push((first, last, value)),
        }
        Ok(())
    }

    /// The table.
    pub fn build(self) -> NetworkMap<V> {
        NetworkMap {
            v4: steps(self.v4, |last| last.checked_add(1)),
            v6: steps(self.v6, |last| last.checked_add(1)),
        }
    }
}

impl<V> NetworkMap<V> {
    /// What belongs to the smallest network that `ip` is in.
    pub fn get(&self, ip: IpAddr) -> Option<&V> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => at(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => at(&self.v6, ip.to_bits()),
        }
    }
}

fn at<T: Copy + Ord, V>(steps: &Steps<T, V>, ip: T) -> Option<&V> {
    let after = steps.partition_point(|(from, _)| *from <= ip);
    steps.get(after.checked_sub(1)?)?.1.as_ref()
}

/// Two networks are apart, or one is in the other: walking along, those that an address is in lie on a stack.
fn steps<T: Copy + Ord, V: Clone + PartialEq>(
    mut entries: Vec<Entry<T, V>>,
    next: impl Fn(T) -> Option<T>,
) -> Steps<T, V> {
    entries.sort_by_key(|(first, last, _)| (*first, Reverse(*last)));
    let (mut steps, mut around): (Steps<T, V>, Vec<(T, V)>) = (Vec::new(), Vec::new());
    for (first, last, value) in entries {
        leave(&mut steps, &mut around, Some(first), &next);
        step(&mut steps, first, Some(value.clone()));
        around.push((last, value));
    }
    leave(&mut steps, &mut around, None, &next);
    steps
}

/// Takes off the stack what ends before an address, or everything.
fn leave<T: Copy + Ord, V: Clone + PartialEq>(
    steps: &mut Steps<T, V>,
    around: &mut Vec<(T, V)>,
    before: Option<T>,
    next: impl Fn(T) -> Option<T>,
) {
    while let Some((last, _)) = around.pop_if(|(last, _)| before.is_none_or(|before| *last < before)) {
        if let Some(behind) = next(last) {
            step(steps, behind, around.last().map(|(_, value)| value.clone()));
        }
    }
}

fn step<T: Copy + Ord, V: PartialEq>(steps: &mut Steps<T, V>, from: T, value: Option<V>) {
    steps.pop_if(|(at, _)| *at == from);
    if steps.last().map_or(value.is_some(), |(_, before)| *before != value) {
        steps.push((from, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_smallest_network_counts() {
        let mut builder = NetworkMapBuilder::default();
        let networks = [
            ("10.0.0.0/8", "ten"),
            ("10.1.0.0/16", "ten-one"),
            ("10.1.2.3", "one"),
            ("255.255.255.0/24", "end"),
            ("::ffff:192.0.2.0/120", "mapped"),
            ("2001:db8::/32", "six"),
            ("2001:db8:1::/48", "six-one"),
        ];
        for (network, value) in networks {
            builder.add(network, value).unwrap();
        }
        for unfit in ["10.0.0.0/33", "example.org", ""] {
            assert_eq!(builder.add(unfit, "x"), Err(UnfitNetwork::NotOne), "{unfit}");
        }
        for twice in ["10.1.0.0/16", "10.1.9.9/16", "10.1.2.3/32", "192.0.2.0/24"] {
            assert_eq!(builder.add(twice, "x"), Err(UnfitNetwork::Twice), "{twice}");
        }
        let map = builder.build();
        for (address, value) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some("ten")),
            ("10.1.2.2", Some("ten-one")),
            ("10.1.2.3", Some("one")),
            ("::ffff:10.1.2.3", Some("one")),
            ("10.1.2.4", Some("ten-one")),
            ("10.2.0.0", Some("ten")),
            ("10.255.255.255", Some("ten")),
            ("11.0.0.0", None),
            ("192.0.2.9", Some("mapped")),
            ("255.255.255.255", Some("end")),
            ("2001:db8:0:1::", Some("six")),
            ("2001:db8:1::9", Some("six-one")),
            ("2001:db9::", None),
        ] {
            assert_eq!(map.get(ip(address)).copied(), value, "{address}");
        }
        assert_eq!(NetworkMapBuilder::<u8>::default().build().get(ip("::1")), None);
    }

    proptest! {
        #[test]
        fn it_says_what_a_naive_search_says(
            nets in prop::collection::vec((0u32..1 << 12, 20u8..=32), 0..30),
            addresses in prop::collection::vec(0u32..1 << 12, 50),
        ) {
            // At both ends of the address space.
            let spread = |n: u32| if n & 1 == 0 { n >> 1 } else { u32::MAX - (n >> 1) };
            let mut naive: Vec<IpNet> = Vec::new();
            let mut builder = NetworkMapBuilder::default();
            for (address, bits) in nets {
                let net = IpNet::new(IpAddr::V4(spread(address).into()), bits).unwrap().trunc();
                let is_new = builder.add(&net.to_string(), net.to_string()).is_ok();
                prop_assert_eq!(is_new, !naive.contains(&net));
                naive.push(net);
            }
            let map = builder.build();
            for address in addresses {
                let ip = IpAddr::V4(spread(address).into());
                let smallest = naive.iter().filter(|net| net.contains(&ip)).max_by_key(|net| net.prefix_len());
                prop_assert_eq!(map.get(ip).cloned(), smallest.map(IpNet::to_string), "{}", ip);
            }
        }
    }
}
