//! What is said of many latencies.

use serde_json::{Map, Value};
use std::time::Duration;

/// In ms, to the µs.
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// How many there are, and their percentiles in ms.
pub fn percentiles(latencies: &mut [Duration]) -> Map<String, Value> {
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(place.saturating_sub(1)).copied().map(ms)
    };
    let mut said = Map::new();
    said.insert("count".to_owned(), latencies.len().into());
    for (name, share) in [("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999), ("max_ms", 1.0)] {
        said.insert(name.to_owned(), at(share).into());
    }
    said
}
