//! Who sends a request: who is at the other end of the connection, and behind trusted proxies, whom they name.

use crate::auth::Caller;
use crate::config::Network;
use crate::ingest::limit::Source;
use crate::net::Peer;
use axum::http::{Extensions, HeaderMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The source of a request. Where nobody needs a token, nobody is told apart by one.
pub(in crate::ingest) fn source(extensions: &Extensions, headers: &HeaderMap, trusted: &[Network]) -> Source {
    // Whoever looks after the connection says who it is; without that it is nobody in particular.
    let peer = extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
    let client = extensions.get::<Caller>().filter(|caller| caller.name != Caller::local().name);
    let client = client.map(|caller| Arc::from(caller.name.as_str()));
    Source { client, address: address(peer.to_canonical(), headers, trusted) }
}

/// The rightmost address of `X-Forwarded-For` that is not a trusted proxy: what stands further left is only said by
/// whoever is there. It is not asked at all if the connection is not from a trusted proxy.
fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut last = peer;
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        if !is_trusted(last) {
            break;
        }
        // What cannot be read was not written by a proxy.
        let Some(hop) = std::str::from_utf8(hop).ok().and_then(|hop| parse(hop.trim())) else { break };
        last = hop;
    }
    last
}

/// Some proxies write the port too.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|hop| hop.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, forwarded: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|n| Network(n.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(of("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "anybody can write the header");
        assert_eq!(of("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["1.1.1.1, 198.51.100.7"]), "198.51.100.7", "the client wrote 1.1.1.1");
        assert_eq!(of("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.9.9.9"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["1.1.1.1", "198.51.100.7,10.9.9.9"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &["10.2.3.4"]), "10.2.3.4");
        assert_eq!(of("10.0.0.1", &["1.1.1.1, unknown"]), "10.0.0.1");
        assert_eq!(of("fd00::1", &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(of("10.0.0.1", &["198.51.100.7:1234"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["::ffff:10.0.0.2, [::ffff:198.51.100.7]"]), "198.51.100.7");
    }
}
