//! What contradicts `[log.fluvio]`.

use super::blame::Checker;
use super::duration::text;
use super::{Config, FluvioOptions, LogKind};
use std::time::Duration;

/// What a job may stand still for beyond the time that it keeps cuts for.
const STANDS_STILL: Duration = Duration::from_secs(24 * 3600);
/// Longer names of topics are refused by Fluvio; the longest is that of a late generation.
const PREFIX: usize = 40;

impl Checker<'_> {
    /// What contradicts `[log.fluvio]`, where it is used.
    pub(super) fn fluvio(&mut self) {
        let Config { log, checkpoints, .. } = self.config;
        if log.kind != LogKind::Fluvio {
            return;
        }
        let FluvioOptions { prefix, replication, retention, .. } = &log.fluvio;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !prefix.chars().all(is_plain) || prefix.starts_with('-') || !(1..=PREFIX).contains(&prefix.len()) {
            let message = format!(
                "`log.fluvio.prefix` is {prefix:?}; Fluvio wants small letters, digits and hyphens between them, and there is \
                 room for {PREFIX}."
            );
            self.blame(&["log.fluvio.prefix", "log.kind"], message);
        }
        if *replication == 0 {
            let message =
                "`log.fluvio.replication` is 0; set it to the number of SPUs that are to have each record.";
            self.blame(&["log.fluvio.replication"], message.to_owned());
        }
        let horizon = checkpoints.every_hour_for;
        let least = horizon.saturating_add(STANDS_STILL);
        if *retention < least {
            let (kept, horizon, least) = (text(*retention), text(horizon), text(least));
            let message = format!(
                "`log.fluvio.retention` ({kept}) is shorter than the replay horizon `checkpoints.every_hour_for` ({horizon}) \
                 and a day, so records that are still needed would be deleted; set it to {least} or more."
            );
            self.blame(&["log.fluvio.retention", "checkpoints.every_hour_for"], message);
        }
    }
}
