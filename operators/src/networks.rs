//! Sets of networks, such as the ranges of data centres, and what belongs to each of some networks.

use std::net::IpAddr;

use ipnet::IpNet;

mod map;

pub use map::{NetworkMap, NetworkMapBuilder, UnfitNetwork};

/// A line of a network file is not a network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{name}:{line}: expected an address or a network such as 192.0.2.0/24 or 2001:db8::/32, \
     found {found:?}"
)]
pub struct NetworksError {
    /// The file, as it was named to [`Networks::parse`].
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What stands there, without the comment.
    pub found: String,
}

/// A set of IPv4 and IPv6 networks. An IPv4 address that is mapped into IPv6 (`::ffff:a.b.c.d`) is
/// the IPv4 address, here and in [`Networks::contains`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    // First and last address of disjoint ranges, in rising order.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// Reads one network or address a line; `#` starts a comment, blank lines are skipped. `name`
    /// is the file that errors name.
    pub fn parse(name: &str, text: &str) -> Result<Self, NetworksError> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (at, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let range = Range::parse(entry).ok_or_else(|| NetworksError {
                name: name.into(),
                line: at + 1,
                found: entry.into(),
            })?;
            match range {
                Range::V4(first, last) => v4.push((first, last)),
                Range::V6(first, last) => v6.push((first, last)),
            }
        }
        Ok(Self { v4: disjoint(v4), v6: disjoint(v6) })
    }

    /// Everything that is in one of `parts`, such as the files of a folder.
    pub fn merge(parts: impl IntoIterator<Item = Networks>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for part in parts {
            v4.extend(part.v4);
            v6.extend(part.v6);
        }
        Self { v4: disjoint(v4), v6: disjoint(v6) }
    }

    /// Is `ip` in one of the networks?
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => holds(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => holds(&self.v6, ip.to_bits()),
        }
    }

    /// How many ranges there are, after overlapping networks were joined.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Is there no network at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn holds<T: Copy + Ord>(ranges: &[(T, T)], ip: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= ip);
    after > 0 && ip <= ranges[after - 1].1
}

/// First and last address of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Range {
    V4(u32, u32),
    V6(u128, u128),
}

impl Range {
    /// Of a network or an address as people write it.
    fn parse(entry: &str) -> Option<Self> {
        let (first, last) = match entry.parse::<IpNet>() {
            Ok(network) => (network.network(), network.broadcast()),
            Err(_) => entry.parse().ok().map(|ip| (ip, ip))?,
        };
        Some(match (first.to_canonical(), last.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Range::V4(first.to_bits(), last.to_bits()),
            _ => Range::V6(bits(first), bits(last)),
        })
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Sorts the ranges and joins those that overlap.
fn disjoint<T: Copy + Ord>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, joined| {
        let overlap = next.0 <= joined.1;
        if overlap {
            joined.1 = joined.1.max(next.1);
        }
        overlap
    });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn reads_comments_blank_lines_addresses_and_networks_of_both_kinds() {
        let text = "# data centres\r\n\n 10.1.2.3/8 # ten\n192.0.2.7\n2001:db8::/32\n::ffff:1.2.3.0/120\n";
        let networks = Networks::parse("a", text).unwrap();
        assert_eq!(networks.len(), 4);
        for inside in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "::ffff:192.0.2.7", "1.2.3.4"] {
            assert!(networks.contains(ip(inside)), "{inside}");
        }
        assert!(networks.contains(ip("2001:db8:ffff::1")));
        for outside in ["9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.8", "2001:db9::", "::"] {
            assert!(!networks.contains(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn an_error_names_file_and_line_and_what_is_expected() {
        for bad in ["10.0.0.0/33", "010.0.0.1", "example.org", "1.2.3.4 5.6.7.8", "::/129"] {
            let error = Networks::parse("dc.txt", &format!("\n1.2.3.4\n{bad} # x")).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "dc.txt:3: expected an address or a network such as 192.0.2.0/24 or \
                     2001:db8::/32, found \"{bad}\""
                )
            );
        }
    }

    /// xorshift64*
    fn next(state: &mut u64) -> u64 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Few distinct addresses, so that networks overlap and hits are frequent.
    fn random_ip(state: &mut u64) -> IpAddr {
        let x = next(state);
        let low = (x >> 32) as u32 & 0x8000_03FF;
        if x & 1 == 0 {
            return Ipv4Addr::from_bits(low).into();
        }
        let high = [0xFFFF_0000_0000, 0x2001_0DB8 << 96][(x >> 1 & 1) as usize];
        Ipv6Addr::from_bits(high | u128::from(low)).into()
    }

    #[test]
    fn says_what_a_naive_check_says() {
        let state = &mut 7;
        for round in 0..200 {
            let nets: Vec<IpNet> = (0..round % 40)
                .filter_map(|_| {
                    let ip = random_ip(state);
                    let bits = if ip.is_ipv4() { 32 } else { 128 };
                    IpNet::new(ip, bits - (next(state) >> 32) as u8 % 8).ok()
                })
                .collect();
            let files = nets.chunks(7).map(|part| {
                let lines: Vec<String> = part.iter().map(|n| n.to_string()).collect();
                Networks::parse("random", &lines.join("\n")).unwrap()
            });
            let networks = Networks::merge(files);
            assert_eq!(networks.is_empty(), nets.is_empty());
            for _ in 0..500 {
                let ip = random_ip(state);
                let mapped = IpAddr::V6(Ipv6Addr::from_bits(bits(ip)));
                let naive = |ip| nets.iter().any(|net| net.contains(&ip));
                let expected = naive(ip.to_canonical()) || naive(mapped);
                assert_eq!(networks.contains(ip), expected, "{ip} in {nets:?}");
            }
        }
    }
}
