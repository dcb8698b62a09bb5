//! The configuration file. One that is accepted keeps what `deploy/weir.example.toml` promises.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_pipeline::config::{Config, duration};

fuzz_target!(|text: &str| {
    if let Ok(length) = duration::parse(text) {
        assert!(duration::millis(length) <= duration::LONGEST_MS);
        assert_eq!(duration::parse(&duration::text(length)), Ok(length));
    }
    match Config::parse("weir.toml", text) {
        Ok(config) => {
            assert!((1..=1024).contains(&config.partitions));
            assert!(config.threads <= 256);
            assert!((1..=65_000).contains(&config.anti_brush.max_per_ip_ad_minute));
            assert!((1..=65_000).contains(&config.anti_fraud.max_user_ads_10s));
            assert!(config.time.allowed_lateness.as_secs() >= 60);
            assert!((2..=1440).contains(&config.state.hot_minutes));
            assert!((1..=4096).contains(&config.log.segment_mb));
        }
        Err(errors) => {
            let said = errors.to_string();
            assert!(said.starts_with("weir.toml") || said.contains("\nweir.toml"), "{said}");
        }
    }
});
