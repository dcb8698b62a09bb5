//! Who is in the consumer group: a worker says in its client id who it is and where, and Kafka knows what it has.

use super::lag::Lag;
use super::options::KafkaOptions;
use crate::group::{Membership, Peer};
use crate::log::LogError;
use rdkafka::consumer::Consumer;
use std::time::Duration;

/// How long brokers have for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client id of a worker.
pub(super) fn client_id(group: &str, membership: &Membership) -> String {
    format!("{group}-{}@{}", membership.worker, membership.address)
}

/// The members of the group that are workers, in order.
pub(super) fn of(options: &KafkaOptions, lag: &Lag) -> Result<Vec<Peer>, LogError> {
    let group = options.group();
    let found = lag.client().fetch_group_list(Some(group), PATIENCE);
    let found = found.map_err(|e| LogError::kafka("ask for the group of workers of", &e))?;
    let members = found.groups().iter().filter(|g| g.name() == group).flat_map(|g| g.members());
    let mut peers: Vec<Peer> = members
        .filter_map(|member| {
            let (worker, address) = worker_of(group, member.client_id())?;
            let partitions = assigned(member.assignment().unwrap_or_default()).unwrap_or_default();
            Some(Peer { worker, address, partitions })
        })
        .collect();
    peers.sort_by_key(|peer| peer.worker);
    Ok(peers)
}

fn worker_of(group: &str, client_id: &str) -> Option<(u16, String)> {
    let (worker, address) = client_id.strip_prefix(group)?.strip_prefix('-')?.split_once('@')?;
    Some((worker.parse().ok()?, address.to_owned()))
}

/// The partitions of an assignment of Kafka's protocol for consumers, big-endian: `version i16`, then for each topic
/// `name (length i16, bytes), partitions (count i32, i32 each)` behind their count, i32; the rest is not looked at. The
/// group has one topic.
fn assigned(bytes: &[u8]) -> Option<Vec<u32>> {
    let mut rest = bytes.get(2..)?;
    let mut partitions = Vec::new();
    for _ in 0..take_i32(&mut rest)? {
        let length = rest.split_off(..2)?;
        let length = i16::from_be_bytes(length.try_into().ok()?);
        rest.split_off(..usize::try_from(length).ok()?)?;
        for _ in 0..take_i32(&mut rest)? {
            partitions.push(u32::try_from(take_i32(&mut rest)?).ok()?);
        }
    }
    partitions.sort_unstable();
    Some(partitions)
}

fn take_i32(rest: &mut &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(rest.split_off(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_a_cut_one_is_none() {
        let bytes = [
            &[0, 1, 0, 0, 0, 1, 0, 8][..],
            b"weir.raw",
            &[0, 0, 0, 2, 0, 0, 1, 4, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff],
        ]
        .concat();
        assert_eq!(assigned(&bytes), Some(vec![3, 260]));
        for end in 0..bytes.len() - 4 {
            assert_eq!(assigned(&bytes[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_worker_is_known_by_its_client_id() {
        let membership = Membership {
            worker: 17,
            session_timeout: Duration::from_secs(10),
            address: "http://a-17:9465".to_owned(),
            by: crate::group::Coordination::Log,
        };
        let id = client_id("weir-eu", &membership);
        assert_eq!(worker_of("weir-eu", &id), Some((17, "http://a-17:9465".to_owned())));
        assert_eq!(worker_of("weir", &id), None);
        assert_eq!(worker_of("weir-eu", "rdkafka"), None);
    }
}
