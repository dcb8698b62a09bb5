//! Keys: their file, their rotation, and that they never show.

use super::tests::request;
use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const NOW: u64 = 1_767_261_600_000;
const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: u64 = 86_400_000;

fn ids(keys: &KeySet) -> Vec<u32> {
    keys.all().iter().map(|key| key.id).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn credentials(path: &Path, now_ms: u64) -> Credentials {
    Credentials::new(KeyRing::open(path, now_ms).unwrap(), Limits::default(), None)
}

#[test]
fn keys_are_made_once_and_only_their_owner_may_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = key_path_in(dir.path());
    assert!(matches!(key_file::read(&path), Err(KeyError::Missing(_))));
    assert!(matches!(key_file::rotate(&path, NOW, DAY), Err(KeyError::Missing(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(ids(&key_file::read_or_create(&path, NOW).unwrap()), [1]);
    let bytes = fs::read(&path).unwrap();
    key_file::read_or_create(&path, NOW + 1).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!((bytes.len(), mode(&path)), (16 + 44, 0o600));
    key_file::rotate(&path, NOW, DAY).unwrap();
    assert_eq!(mode(&path), 0o600);
    for (mode, is_good) in [(0o640, true), (0o400, true), (0o644, false), (0o660, false), (0o601, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match key_file::read(&path) {
            Ok(_) => assert!(is_good, "{mode:o}"),
            Err(KeyError::Open { mode: found, .. }) => assert!(!is_good && found == mode, "{mode:o}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn damage_of_the_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = key_path_in(dir.path());
    key_file::read_or_create(&path, NOW).unwrap();
    key_file::rotate(&path, NOW, DAY).unwrap();
    let bytes = fs::read(&path).unwrap();
    let damaged = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = key_file::read(&path).unwrap_err();
        assert!(matches!(error, KeyError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    };
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        damaged(&flipped);
    }
    (0..bytes.len()).for_each(|end| damaged(&bytes[..end]));
    damaged(&[&bytes[..], &[0]].concat());
    // With a right checksum, too: no key, the same one twice.
    let sealed = |rest: &[u8]| [&bytes[..8], &crc32c::crc32c(rest).to_le_bytes(), rest].concat();
    damaged(&sealed(&0u32.to_le_bytes()));
    let key = &bytes[16..60];
    damaged(&sealed(&[&2u32.to_le_bytes()[..], key, key].concat()));
    damaged(&sealed(&[&3u32.to_le_bytes()[..], &bytes[16..]].concat()));
    damaged(&vec![0; 1 << 20]);
    assert_eq!(sealed(&bytes[12..]), bytes);
}

#[test]
fn a_new_key_signs_after_a_while_and_old_credentials_live_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = key_path_in(dir.path());
    key_file::read_or_create(&path, NOW).unwrap();
    // One server that was there before the rotation, and one that comes after it.
    let before = credentials(&path, NOW);
    let old = before.issue(&request(), NOW).unwrap().token;
    let (keys, removed) = key_file::rotate(&path, NOW, DAY).unwrap();
    assert_eq!((ids(&keys), removed), (vec![1, 2], vec![]));
    let after = credentials(&path, NOW);
    let same = after.issue(&request(), NOW).unwrap().token;
    assert_eq!(same, old);
    let later = NOW + GRACE_MS;
    let new = after.issue(&request(), later).unwrap().token;
    assert_eq!(before.redeem(&new, later).unwrap(), after.redeem(&new, later).unwrap());
    assert!(after.redeem(&old, later).is_ok() && before.redeem(&old, later).is_ok());
    assert_ne!(before.issue(&request(), NOW).unwrap().token, new);
    assert_eq!(before.issue(&request(), later).unwrap().token, new);
}

#[test]
fn only_keys_that_nobody_needs_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = key_path_in(dir.path());
    key_file::read_or_create(&path, NOW).unwrap();
    let rotate = |now| {
        let (keys, removed) = key_file::rotate(&path, now, DAY).unwrap();
        (ids(&keys), removed)
    };
    assert_eq!(rotate(NOW), (vec![1, 2], vec![]));
    // The last credential that key 1 may have signed.
    let signed = NOW + 2 * GRACE_MS;
    assert_eq!(rotate(signed + DAY_MS - 1), (vec![1, 2, 3], vec![]));
    assert_eq!(rotate(signed + DAY_MS), (vec![2, 3, 4], vec![1]));
    assert_eq!(rotate(signed + 3 * DAY_MS), (vec![4, 5], vec![2, 3]));
    // A clock that was set back.
    assert_eq!(rotate(NOW), (vec![4, 5, 6], vec![]));
    assert!(key_file::read(&path).unwrap().all().is_sorted_by_key(|key| key.created_ms));
}

#[test]
fn there_are_never_too_many_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = key_path_in(dir.path());
    key_file::read_or_create(&path, NOW).unwrap();
    for _ in 1..KeySet::MOST {
        key_file::rotate(&path, NOW, DAY).unwrap();
    }
    assert!(matches!(key_file::rotate(&path, NOW, DAY), Err(KeyError::TooMany(_))));
    assert_eq!(key_file::read(&path).unwrap().all().len(), KeySet::MOST);
    // The one that all servers have surely read.
    assert_eq!(key_file::read(&path).unwrap().signing(NOW).unwrap().id, 1);
}

#[test]
fn an_unknown_key_is_looked_for_once_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let path = key_path_in(dir.path());
    key_file::read_or_create(&path, NOW).unwrap();
    let server = credentials(&path, NOW);
    key_file::rotate(&path, NOW - GRACE_MS, DAY).unwrap();
    let later = NOW + GRACE_MS;
    let token = credentials(&path, later).issue(&request(), later).unwrap().token;
    let unknown = |now| matches!(server.redeem(&token, now), Err(RedeemError::Forged(Flaw::UnknownKey(2))));
    assert!(unknown(NOW + 999));
    assert!(server.redeem(&token, NOW + 1_000).is_ok());
}

#[test]
fn a_damaged_file_neither_stops_a_server_nor_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = key_path_in(dir.path());
    key_file::read_or_create(&path, NOW).unwrap();
    let server = credentials(&path, NOW);
    let token = server.issue(&request(), NOW).unwrap().token;
    let good = fs::read(&path).unwrap();
    fs::write(&path, "nonsense").unwrap();
    assert!(KeyRing::open(&path, NOW).is_err());
    assert!(server.redeem(&token, NOW + 10_000).is_ok());
    assert!(server.issue(&request(), NOW + 10_000).is_ok());
    fs::remove_file(&path).unwrap();
    assert!(server.redeem(&token, NOW + 20_000).is_ok());
    fs::write(&path, good).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    key_file::rotate(&path, NOW, DAY).unwrap();
    assert_eq!(ids(&server.ring.keys(NOW + 30_000)), [1, 2]);
}

#[test]
fn secrets_do_not_show() {
    let dir = tempfile::tempdir().unwrap();
    let path = key_path_in(dir.path());
    let keys = key_file::read_or_create(&path, NOW).unwrap();
    let secret = keys.all()[0].secret.to_vec();
    let shown = format!("{keys:?} {:?} {:?}", keys.all()[0], KeyRing::open(&path, NOW).unwrap());
    assert!(shown.contains("created_ms"), "{shown}");
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!shown.contains(&format!("{secret:?}")) && !shown.to_lowercase().contains(&hex), "{shown}");
    // Not even two bytes of it in a row.
    let two = format!("{}, {}", secret[0], secret[1]);
    assert!(!shown.contains(&two), "{shown}");
}
