//! From a URL to the storage behind it.

use super::error::DepotError;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreScheme, parse_url_opts};
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

/// For one request, with all bytes of a part or a file; the crate's own is too short for a slow way.
const TIMEOUT: &str = "5 minutes";

/// The storage of a URL; names begin below its path.
pub(super) fn store(
    url: &str,
    options: &BTreeMap<String, String>,
) -> Result<Arc<dyn ObjectStore>, DepotError> {
    let unusable = |problem: String| DepotError::Unusable { url: url.to_owned(), problem };
    let parsed = Url::parse(url).map_err(|e| unusable(e.to_string()))?;
    let (scheme, _) = ObjectStoreScheme::parse(&parsed).map_err(|e| unusable(e.to_string()))?;
    if let Some(key) = options.keys().find(|key| !is_known(&scheme, &key.to_ascii_lowercase())) {
        return Err(unusable(format!("it has no option `{key}`")));
    }
    // TLS is ours to choose. If the process has chosen already, that stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let all = [("timeout".to_owned(), TIMEOUT.to_owned())]
        .into_iter()
        .chain(variables())
        .chain(options.iter().map(|(key, value)| (key.clone(), value.clone())));
    let (store, prefix) = parse_url_opts(&parsed, all).map_err(|e| unusable(e.to_string()))?;
    let store = match scheme {
        // A manifest must not outlive its files.
        ObjectStoreScheme::Local => Box::new(LocalFileSystem::new().with_fsync(true)) as _,
        _ => store,
    };
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

fn is_known(scheme: &ObjectStoreScheme, key: &str) -> bool {
    match scheme {
        ObjectStoreScheme::AmazonS3 => key.parse::<AmazonS3ConfigKey>().is_ok(),
        ObjectStoreScheme::GoogleCloudStorage => key.parse::<GoogleConfigKey>().is_ok(),
        ObjectStoreScheme::MicrosoftAzure => key.parse::<AzureConfigKey>().is_ok(),
        _ => false,
    }
}

/// Those of the environment that a storage may know.
fn variables() -> impl Iterator<Item = (String, String)> {
    let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os()
        .filter_map(text)
        .filter(|(key, _)| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| key.starts_with(prefix)))
        .map(|(key, value)| (key.to_ascii_lowercase(), value))
}
