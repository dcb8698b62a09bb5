//! Network lists: an address is in a list if it is in one of its lines.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv6Addr};
use weir_operators::networks::Networks;

fuzz_target!(|text: &str| {
    let Ok(all) = Networks::parse("list", text) else { return };
    let alone: Vec<Networks> = text.lines().filter_map(|line| Networks::parse("line", line).ok()).collect();
    assert_eq!(alone.len(), text.lines().count());
    let merged = Networks::merge(alone.iter().cloned());
    assert_eq!(merged, all);
    for line in text.lines() {
        let address = line.split(['/', '#']).next().unwrap_or_default().trim();
        let Ok(address) = address.parse::<IpAddr>() else { continue };
        // A wide network of IPv6 around mapped addresses is one of IPv6.
        if address.to_canonical() == address {
            assert!(all.contains(address), "{address}");
        }
        for other in neighbours(address) {
            assert_eq!(all.contains(other), alone.iter().any(|one| one.contains(other)), "{other}");
        }
    }
});

fn neighbours(address: IpAddr) -> [IpAddr; 3] {
    match address {
        IpAddr::V4(ip) => {
            let n = ip.to_bits();
            [
                IpAddr::V4(n.wrapping_add(1).into()),
                IpAddr::V4(n.wrapping_sub(1).into()),
                ip.to_ipv6_mapped().into(),
            ]
        }
        IpAddr::V6(ip) => {
            let n = ip.to_bits();
            [n.wrapping_add(1), n.wrapping_sub(1), n ^ 1 << 64].map(|n| Ipv6Addr::from_bits(n).into())
        }
    }
}
