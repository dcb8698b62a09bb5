//! Plain values in a store: `version u8, postcard of the value`. RocksDB checks their bytes.

use crate::error::StateError;
use crate::store::{Commit, Store};
use hashbrown::HashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of a value in a version of its layout.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    // Writing plain data into memory cannot fail.
    let mut out = vec![version];
    out.extend(postcard::to_stdvec(value).unwrap_or_default());
    out
}

/// Reads a value; an error that names the store and `what` if it is of another version or damaged.
pub fn decode<T: DeserializeOwned>(
    store: &Store,
    version: u8,
    what: &'static str,
    bytes: &[u8],
) -> Result<T, StateError> {
    read(version, bytes).ok_or(StateError::Format { path: store.dir().to_owned(), what })
}

/// Reads a value; nothing if it is of another version or damaged, or if something stands behind it.
pub fn read<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Option<T> {
    let (_, body) = bytes.split_first().filter(|(found, _)| **found == version)?;
    postcard::take_from_bytes(body).ok().and_then(|(value, rest)| rest.is_empty().then_some(value))
}

/// A table of values by numeric id: which table, version of its values, what they are.
pub struct ById {
    /// The table's number.
    pub table: u8,
    /// The version of its values.
    pub version: u8,
    /// What a value is, for errors: "an account".
    pub what: &'static str,
}

impl ById {
    /// Every value of the table.
    pub fn load<T: DeserializeOwned>(&self, store: &Store) -> Result<HashMap<u64, T>, StateError> {
        let mut all = HashMap::new();
        let mut failed = None;
        store.scan(self.table, &[], |key, bytes| {
            match (key.try_into(), decode(store, self.version, self.what, bytes)) {
                (Ok(id), Ok(value)) => {
                    all.insert(u64::from_be_bytes(id), value);
                }
                (_, Err(error)) => failed = Some(error),
                _ => failed = Some(StateError::Format { path: store.dir().to_owned(), what: self.what }),
            }
        })?;
        failed.map_or(Ok(all), Err)
    }

    /// Sets a value.
    pub fn put<T: Serialize>(&self, id: u64, value: &T, commit: &mut Commit) {
        commit.put(self.table, &id.to_be_bytes(), &encode(self.version, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_all_that_stands_there() {
        let bytes = encode(2, &(7u64, "x".to_owned()));
        assert_eq!(read(2, &bytes), Some((7u64, "x".to_owned())));
        assert_eq!(read::<(u64, String)>(1, &bytes), None);
        assert_eq!(read::<(u64, String)>(2, &[&bytes[..], &[0]].concat()), None);
    }
}
