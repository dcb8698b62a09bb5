//! How single values are read; what each visitor expects ends up in messages.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::duration::{self, LONGEST_MS};

/// Which log carries the clicks between the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "\"embedded\", \"kafka\" or \"fluvio\"")]
pub enum LogKind {
    /// The log built into Weir, under `data_dir`.
    Embedded,
    /// Topics of Apache Kafka.
    Kafka,
    /// Topics of Fluvio.
    Fluvio,
}

/// Who decides which worker of a group has which partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "\"kafka\", \"zookeeper\" or \"static\"")]
pub enum CoordinatorKind {
    /// Kafka's consumer groups.
    Kafka,
    /// Leases in Apache ZooKeeper.
    ZooKeeper,
    /// Nobody: each worker says which ones it has.
    Static,
}

/// Whose minutes make the ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "\"wall\" or \"events\"")]
pub enum ClockKind {
    /// The wall clock's.
    Wall,
    /// The events': to take in what was logged earlier.
    Events,
}

/// How blocks of the log are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "\"auto\", \"lz4\" or \"none\"")]
pub enum Compression {
    /// LZ4 blocks, but none while the job has fallen behind.
    Auto,
    /// LZ4 blocks.
    Lz4,
    /// No compression.
    None,
}

/// A network, or the one of a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl Network {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(NetworkText)
    }
}

/// A whole number from `LO` to `HI`.
pub(super) fn whole<'de, D, T, const LO: u64, const HI: u64>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let number = from.deserialize_u64(Whole::<LO, HI>)?;
    T::try_from(number).map_err(|_| too_large(number))
}

fn too_large<E: Error>(number: u64) -> E {
    E::custom(format!("{number} is too large for this machine"))
}

/// A duration of any length.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_str(Within::<0, LONGEST_MS>)
}

/// A duration from `LO` to `HI` milliseconds.
pub(crate) fn duration_within<'de, D, const LO: u64, const HI: u64>(from: D) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    from.deserialize_str(Within::<LO, HI>)
}

/// An address, or `None` for `"off"` and `""`.
pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    from.deserialize_str(Address)
}

struct Whole<const LO: u64, const HI: u64>;

impl<const LO: u64, const HI: u64> Visitor<'_> for Whole<LO, HI> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {LO} to {HI}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        if (LO..=HI).contains(&number) {
            Ok(number)
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

struct Within<const LO: u64, const HI: u64>;

impl<const LO: u64, const HI: u64> Visitor<'_> for Within<LO, HI> {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |ms| duration::text(Duration::from_millis(ms));
        let (lowest, highest) = (text(LO), text(HI));
        write!(f, "a duration from {lowest:?} to {highest:?}, in ms, s, m, h or d")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        duration::parse(text)
            .ok()
            .filter(|found| (LO..=HI).contains(&duration::millis(*found)))
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

struct Address;

impl Visitor<'_> for Address {
    type Value = Option<SocketAddr>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an IP address and a port such as \"127.0.0.1:9464\", or \"off\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text.is_empty() || text == "off" {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

struct NetworkText;

impl Visitor<'_> for NetworkText {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an IP address or a network such as \"10.0.0.0/8\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Network, E> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Network).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}
