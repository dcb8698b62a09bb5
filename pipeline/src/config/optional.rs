//! `[mirror]` and `[enrichment]`: what is done beside taking events in; their keys, defaults and contradictions.

use std::path::PathBuf;

use serde::Deserialize;

use super::Config;
use super::blame::Checker;
use super::check::is_http;
use super::values;

/// `[mirror]`: another endpoint that gets copies of what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Mirror {
    /// Where they are posted to, over http or https; required.
    pub url: String,
    /// Of 100 accepted requests, how many are copied, 1 to 100 (default 100).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 100>")]
    pub share: u32,
}

/// `[enrichment]`: what is added to accepted events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Enrichment {
    /// The CSV file of networks and their regions (default `regions.csv`).
    pub regions: PathBuf,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { url: String::new(), share: 100 }
    }
}

impl Default for Enrichment {
    fn default() -> Self {
        Self { regions: "regions.csv".into() }
    }
}

impl Checker<'_> {
    /// What contradicts `[mirror]` and `[enrichment]`.
    pub(super) fn optional(&mut self) {
        let Config { mirror, enrichment, ingest, listen, .. } = self.config;
        let beside = [("mirror", mirror.is_some()), ("enrichment", enrichment.is_some())];
        for (section, _) in beside.into_iter().filter(|(_, is_there)| *is_there && ingest.is_none()) {
            let message = format!(
                "[{section}] is about events that are sent to the job, but without [ingest] none are taken in; add \
                 [ingest] or remove [{section}]."
            );
            self.blame(&[section, "ingest"], message);
        }
        let Some(mirror) = mirror else { return };
        let uri: Option<ureq::http::Uri> = mirror.url.parse().ok();
        let authority = uri.as_ref().and_then(|uri| uri.authority()).map(|a| a.as_str());
        let own = ingest.as_ref().and(listen.http).map(|address| address.to_string());
        let message = match mirror.url.as_str() {
            "" => {
                "`mirror.url` is missing or empty; give it the address that copies are posted to.".to_owned()
            }
            url if !is_http(url) => {
                format!("`mirror.url` is {url:?}; write it as http://host:port/path or https://host/path.")
            }
            url if authority.is_some() && authority == own.as_deref() => format!(
                "`mirror.url` ({url}) is this job's own `listen.http`, so each copy would be copied again; give it \
                 the address of another endpoint."
            ),
            _ => return,
        };
        self.blame(&["mirror.url", "mirror"], message);
    }
}
