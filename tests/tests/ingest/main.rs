//! Events over the network: what is acknowledged is billed once, and nobody takes it down.

mod beacons;
mod degraded;
mod hostile;
mod kills;
mod overload;
mod security;
mod switches;
