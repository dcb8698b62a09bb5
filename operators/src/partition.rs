//! Partition: which partition of the next topic a record goes to. `raw` is keyed by ip, so that one
//! task sees all events of an address; `clean` by user; `judged` and `charges` by advertiser.

use weir_proto::{Event, route_bytes, route_id};

/// Of `raw`.
pub fn by_ip(ip: &[u8; 16], partitions: u32) -> u32 {
    route_bytes(ip, partitions)
}

/// Of `clean`.
pub fn by_user(event: &Event<'_>, partitions: u32) -> u32 {
    route_bytes(event.user_bytes(), partitions)
}

/// Of `judged` and `charges`.
pub fn by_advertiser(advertiser_id: u64, partitions: u32) -> u32 {
    route_id(advertiser_id, partitions)
}
