//! Credentials: tokens of any text, tokens with a right tag and any content, any request, any key file. The first byte
//! says what the rest is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use std::sync::LazyLock;
use weir_pipeline::credentials::fuzzing::{self, NOW_MS};
use weir_pipeline::credentials::{Claims, Credentials, IssueError, MAX_TOKEN, RedeemError};
use weir_proto::rpc::IssueRequest;
use weir_proto::{EventKind, Guid, NewEvent};

static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(fuzzing::credentials);

fuzz_target!(|data: &[u8]| {
    let Some((what, rest)) = data.split_first() else { return };
    match what % 5 {
        0 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            let _ = Credentials::may_wait(text);
            redeem(text);
        }
        version @ (1 | 2) => redeem(&fuzzing::seal(version, rest)),
        3 => {
            let Ok(request) = IssueRequest::decode(rest) else { return };
            issue(&request);
        }
        _ => {
            let file = [b"WEIRCRD1", &crc32c::crc32c(rest).to_le_bytes()[..], rest].concat();
            if let Some(again) = fuzzing::keys(&file) {
                assert_eq!(again, file);
            }
        }
    }
});

/// Claims that are accepted have this token and no other, and keep within their limits.
fn redeem(token: &str) {
    let claims = match CREDENTIALS.redeem(token, NOW_MS) {
        Ok(claims) => claims,
        Err(RedeemError::Expired { claims: Some(claims) }) => *claims,
        Err(_) => return,
    };
    assert_eq!(fuzzing::seal(1, &fuzzing::encode(&claims)), token);
    within_limits(&claims);
}

fn within_limits(claims: &Claims) {
    for kind in [EventKind::Click, EventKind::Impression] {
        let guid = claims.guid_of(kind).expect("a guid");
        assert!(Guid::parse(&guid).is_some());
    }
    assert_ne!(claims.guid_of(EventKind::Click), claims.guid_of(EventKind::Impression));
    assert!(claims.user_id.len() <= NewEvent::MAX_TEXT && claims.slot.len() <= NewEvent::MAX_TEXT);
    let url = &claims.landing_url;
    assert!(url.len() <= Claims::MAX_URL);
    assert!(url.is_empty() || url.starts_with("http://") || url.starts_with("https://"), "{url}");
}

fn issue(request: &IssueRequest) {
    match CREDENTIALS.issue(request, NOW_MS) {
        Ok(issued) => {
            assert!(issued.token.len() <= MAX_TOKEN);
            assert_eq!(CREDENTIALS.redeem(&issued.token, NOW_MS).ok().as_ref(), Some(&issued.claims));
            // As it goes into a header.
            assert!(issued.claims.landing_url.bytes().all(|b| b.is_ascii_graphic()), "{:?}", issued.claims);
            within_limits(&issued.claims);
        }
        Err(IssueError::Field(wrong)) => assert!(wrong.to_string().starts_with('`')),
        Err(IssueError::NoStore) => assert!(request.by_reference),
        Err(other) => panic!("{other}"),
    }
}
