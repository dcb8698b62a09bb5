//! Tokens: what is issued is redeemed, and nothing else.

use super::*;
use crate::clock::SourceClock;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use std::sync::atomic::AtomicU64;
use tempfile::TempDir;
use tonic::{Code, Request};
use weir_proto::EventKind;
use weir_proto::rpc::credentials_server::Credentials as _;
use weir_state::Shared;

const NOW: u64 = 1_767_261_600_000;
const HOUR: u64 = 3_600_000;

pub(super) fn request() -> IssueRequest {
    IssueRequest {
        guid: "01KDWFZY7JAJ06BJH5MKP4EFSR".to_owned(),
        advertiser_id: 36,
        campaign_id: 100_285,
        ad_id: 7,
        billing: "cpc".to_owned(),
        bid_micros: 540_000,
        currency: "EUR".to_owned(),
        slot: "article_sidebar".to_owned(),
        user_id: "u22d8".to_owned(),
        landing_url: "https://shop.example.com/shoes?size=43".to_owned(),
        lifetime_s: 0,
        by_reference: false,
    }
}

fn with_store(dir: &TempDir, store: Option<Arc<dyn CredentialStore>>) -> Credentials {
    let ring = KeyRing::open_or_create(&key_path_in(dir.path()), NOW).unwrap();
    Credentials::new(ring, Limits::default(), store)
}

fn credentials() -> (TempDir, Credentials) {
    let dir = tempfile::tempdir().unwrap();
    let credentials = with_store(&dir, None);
    (dir, credentials)
}

fn flaw(result: Result<Claims, RedeemError>) -> Flaw {
    match result {
        Err(RedeemError::Forged(flaw)) => flaw,
        other => panic!("{other:?} is not forged"),
    }
}

#[test]
fn what_is_issued_is_what_is_redeemed() {
    let (_dir, credentials) = credentials();
    let Issued { token, claims } = credentials.issue(&request(), NOW).unwrap();
    assert_eq!(credentials.redeem(&token, NOW + HOUR - 1).unwrap(), claims);
    let said = (claims.guid.as_str(), claims.advertiser_id, claims.campaign_id, claims.ad_id);
    assert_eq!(said, ("01KDWFZY7JAJ06BJH5MKP4EFSR", 36, 100_285, 7));
    assert_eq!((claims.billing, claims.bid_micros, claims.expires_ms), (Billing::Cpc, 540_000, NOW + HOUR));
    assert_eq!((claims.user_id.as_str(), claims.slot.as_str()), ("u22d8", "article_sidebar"));
    assert_eq!(claims.landing_url, request().landing_url);
    assert_eq!(credentials.issue(&request(), NOW).unwrap().token, token);
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')), "{token}");
}

/// Tokens that are out there must be read by later versions.
#[test]
fn the_layout_is_pinned() {
    let mut key = Key::random(9, NOW).unwrap();
    key.secret.copy_from_slice(&[7; 32]);
    let claims = Claims {
        guid: "g".to_owned(),
        user_id: "u".to_owned(),
        ad_id: 1,
        campaign_id: 300,
        advertiser_id: 36,
        billing: Billing::Cps,
        bid_micros: 0,
        currency: Currency::parse("EUR"),
        slot: String::new(),
        landing_url: "https://a.b/".to_owned(),
        expires_ms: 128,
    };
    let body = b"\x01g\x01u\x01\xac\x02\x24\x03\x00\x01\x03EUR\x00\x0chttps://a.b/\x80\x01";
    assert_eq!(token::encode(&claims), body);
    let token = token::seal(&key, token::CLAIMS, body);
    assert_eq!(
        token,
        "AQkAAAABZwF1AawCJAMAAQNFVVIADGh0dHBzOi8vYS5iL4ABKdrnQAORA-q-PYqFkxhObl_BMdd31KjcBiuw_7R_akA"
    );
}

#[test]
fn a_flipped_bit_anywhere_is_a_forgery() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&store_path(dir.path()), &Shared::new(0)).unwrap();
    let credentials = with_store(&dir, Some(Arc::new(store)));
    for by_reference in [false, true] {
        let token = credentials.issue(&IssueRequest { by_reference, ..request() }, NOW).unwrap().token;
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let flaw = flaw(credentials.redeem(&URL_SAFE_NO_PAD.encode(altered), NOW));
            assert!(matches!(flaw, Flaw::Version(_) | Flaw::UnknownKey(_) | Flaw::Tag), "{bit}: {flaw}");
        }
        // And of the text, where not every bit is one of the token.
        for bit in 0..8 * token.len() {
            let mut altered = token.clone().into_bytes();
            altered[bit / 8] ^= 1 << (bit % 8);
            let Ok(altered) = String::from_utf8(altered) else { continue };
            flaw_of_text(&credentials, &altered);
        }
        for end in 0..token.len() {
            flaw_of_text(&credentials, &token[..end]);
        }
        for more in ["A", "AA", "AAAA", "=", "==", " ", "\n"] {
            flaw_of_text(&credentials, &format!("{token}{more}"));
        }
    }
}

fn flaw_of_text(credentials: &Credentials, text: &str) {
    flaw(credentials.redeem(text, NOW));
}

#[test]
fn each_forgery_has_its_reason() {
    let (dir, credentials) = credentials();
    let keys = key_file::read(&key_path_in(dir.path())).unwrap();
    let key = &keys.all()[0];
    let sealed = |payload: &[u8]| flaw(credentials.redeem(&token::seal(key, token::CLAIMS, payload), NOW));
    assert_eq!(flaw(credentials.redeem(&"A".repeat(MAX_TOKEN + 1), NOW)), Flaw::TooLong);
    assert_eq!(flaw(credentials.redeem("+/==", NOW)), Flaw::NotBase64);
    assert_eq!(flaw(credentials.redeem("", NOW)), Flaw::TooShort);
    assert_eq!(flaw(credentials.redeem("AQAA", NOW)), Flaw::TooShort);
    assert_eq!(flaw(credentials.redeem("Aw", NOW)), Flaw::Version(3));
    let claims = credentials.issue(&request(), NOW).unwrap().claims;
    let body = token::encode(&claims);
    // Even who has the key can write them in one way only.
    assert_eq!(sealed(&[&body[..], &[0]].concat()), Flaw::Content);
    assert_eq!(sealed(&body[..body.len() - 1]), Flaw::Content);
    let (guid_len, rest) = body.split_at(1);
    assert_eq!(sealed(&[&[guid_len[0] | 0x80, 0], rest].concat()), Flaw::Content);
    let beyond = Claims { landing_url: "javascript:alert(1)".to_owned(), ..claims.clone() };
    assert_eq!(sealed(&token::encode(&beyond)), Flaw::Content);
    // The tag of one thing is none of another.
    let reference = Reference::to(key, &body, claims.expires_ms).encode();
    let other = token::seal(key, token::REFERENCE, &reference);
    let mut bytes = URL_SAFE_NO_PAD.decode(other).unwrap();
    bytes[0] = token::CLAIMS;
    assert_eq!(flaw(credentials.redeem(&URL_SAFE_NO_PAD.encode(bytes), NOW)), Flaw::Tag);
    let (_dir, others) = self::credentials();
    let theirs = others.issue(&request(), NOW).unwrap().token;
    assert_eq!(flaw(credentials.redeem(&theirs, NOW)), Flaw::Tag);
}

#[test]
fn an_expired_one_still_says_where_it_leads() {
    let (_dir, credentials) = credentials();
    let issued = credentials.issue(&IssueRequest { lifetime_s: 60, ..request() }, NOW).unwrap();
    assert!(credentials.redeem(&issued.token, NOW + 59_999).is_ok());
    let error = credentials.redeem(&issued.token, NOW + 60_000).unwrap_err();
    assert_eq!(error.code(), Some("expired_credential"));
    assert!(matches!(error, RedeemError::Expired { claims: Some(claims) } if *claims == issued.claims));
}

#[test]
fn what_cannot_be_issued_names_its_field() {
    let (_dir, credentials) = credentials();
    let long = "x".repeat(256);
    type Change = fn(&mut IssueRequest, &str);
    let wrong: &[(&str, Change)] = &[
        ("guid", |r, long| r.guid = long[..Claims::MAX_GUID + 1].to_owned()),
        ("guid", |r, _| r.guid = "burl:1:2".to_owned()),
        ("guid", |r, _| r.guid = "cpt/1".to_owned()),
        ("guid", |r, _| r.guid = "a/c".to_owned()),
        ("guid", |r, _| r.guid = "a/i".to_owned()),
        ("advertiser_id", |r, _| r.advertiser_id = 0),
        ("campaign_id", |r, _| r.campaign_id = 0),
        ("ad_id", |r, _| r.ad_id = 0),
        ("bid_micros", |r, _| r.bid_micros = 0),
        ("billing", |r, _| r.billing = "cpt".to_owned()),
        ("billing", |r, _| r.billing = String::new()),
        ("currency", |r, _| r.currency = "euro".to_owned()),
        ("slot", |r, long| r.slot = long.to_owned()),
        ("user_id", |r, long| r.user_id = long.to_owned()),
        ("lifetime_s", |r, _| r.lifetime_s = 24 * 3600 + 1),
        ("landing_url", |r, _| r.landing_url = "/shoes".to_owned()),
        ("landing_url", |r, _| r.landing_url = "//shop.example.com/".to_owned()),
        ("landing_url", |r, _| r.landing_url = "https:shop.example.com".to_owned()),
        ("landing_url", |r, _| r.landing_url = "javascript:alert(1)".to_owned()),
        ("landing_url", |r, _| r.landing_url = "ftp://shop.example.com/".to_owned()),
        ("landing_url", |r, _| r.landing_url = "https://".to_owned()),
        ("landing_url", |r, _| r.landing_url = "https://shop@evil.example.com/".to_owned()),
        ("landing_url", |r, _| r.landing_url = "https://u:p@shop.example.com/".to_owned()),
        ("landing_url", |r, _| r.landing_url = "https://shop.example.com/\r\nSet-Cookie: a=b".to_owned()),
        ("landing_url", |r, _| r.landing_url = "java\tscript:alert(1)".to_owned()),
        ("landing_url", |r, _| r.landing_url = format!("https://a.b/{}", "x".repeat(Claims::MAX_URL))),
        // It is longer as browsers write it.
        ("landing_url", |r, _| r.landing_url = format!("https://a.b/{}", "é".repeat(800))),
    ];
    for (at, (field, change)) in wrong.iter().enumerate() {
        let mut request = request();
        change(&mut request, &long);
        match credentials.issue(&request, NOW) {
            Err(IssueError::Field(wrong)) => {
                assert_eq!(wrong.field, *field, "{at}");
                assert!(wrong.to_string().starts_with(&format!("`{field}` ")), "{wrong}");
            }
            other => panic!("{at}: {other:?}"),
        }
    }
    // What is paid later has its price in the campaign; a landing page is only for clicks through here.
    let free = IssueRequest { billing: "cpa".to_owned(), bid_micros: 0, ..request() };
    credentials.issue(&IssueRequest { landing_url: String::new(), ..free }, NOW).unwrap();
}

#[test]
fn a_landing_page_is_kept_as_browsers_read_it() {
    let (_dir, credentials) = credentials();
    for (given, kept) in [
        ("HTTPS://Shop.Example.com", "https://shop.example.com/"),
        ("https://bücher.example/straße?q=ö#ä", "https://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%B6#%C3%A4"),
        ("http://[::1]:8080/a b", "http://[::1]:8080/a%20b"),
        ("https://shop.example.com/\\evil", "https://shop.example.com//evil"),
    ] {
        let request = IssueRequest { landing_url: given.to_owned(), ..request() };
        let Issued { token, claims } = credentials.issue(&request, NOW).unwrap();
        assert_eq!(claims.landing_url, kept);
        assert_eq!(credentials.redeem(&token, NOW).unwrap(), claims);
    }
}

#[test]
fn what_is_paid_for_has_the_guid_itself() {
    let (_dir, credentials) = credentials();
    for (billing, click, impression) in
        [("cpc", "g", "g/i"), ("cpm", "g/c", "g"), ("cpa", "g", "g/i"), ("cps", "g", "g/i")]
    {
        let request = IssueRequest { guid: "g".to_owned(), billing: billing.to_owned(), ..request() };
        let claims = credentials.issue(&request, NOW).unwrap().claims;
        assert_eq!(claims.guid_of(EventKind::Click).as_deref(), Some(click));
        assert_eq!(claims.guid_of(EventKind::Impression).as_deref(), Some(impression));
        assert_eq!(claims.guid_of(EventKind::Sale), None);
    }
    let longest = IssueRequest { guid: "g".repeat(Claims::MAX_GUID), ..request() };
    let claims = credentials.issue(&longest, NOW).unwrap().claims;
    let beside = claims.guid_of(EventKind::Impression).unwrap();
    assert!(weir_proto::Guid::parse(&beside).is_some());
}

#[test]
fn a_new_guid_is_a_ulid_of_now() {
    let (_dir, credentials) = credentials();
    let request = IssueRequest { guid: String::new(), ..request() };
    let [a, b] = [(); 2].map(|()| credentials.issue(&request, NOW).unwrap().claims.guid);
    assert_ne!(a, b);
    let weir_proto::Guid::Ulid(id) = weir_proto::Guid::parse(&a).unwrap() else { panic!("{a} is no ULID") };
    assert_eq!((id >> 80) as u64, NOW);
}

struct Broken;

impl CredentialStore for Broken {
    fn put(&self, _: &Name, _: &[u8], _: u64, _: u64) -> Result<(), StoreAway> {
        Err(StoreAway("no answer".into()))
    }

    fn get(&self, _: &Name) -> Result<Option<Vec<u8>>, StoreAway> {
        Err(StoreAway("no answer".into()))
    }
}

#[test]
fn a_short_token_names_claims_that_are_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(0);
    let open = || EmbeddedStore::open(&store_path(dir.path()), &shared).unwrap();
    let credentials = with_store(&dir, Some(Arc::new(open())));
    let request = IssueRequest { by_reference: true, ..request() };
    let Issued { token, claims } = credentials.issue(&request, NOW).unwrap();
    assert!(token.len() <= 84 && Credentials::may_wait(&token), "{token}");
    assert_eq!(credentials.redeem(&token, NOW).unwrap(), claims);
    let beside = EmbeddedStore::open_read_only(&store_path(dir.path()), &shared).unwrap();
    assert_eq!(with_store(&dir, Some(Arc::new(beside))).redeem(&token, NOW).unwrap(), claims);
    drop(credentials);
    let credentials = with_store(&dir, Some(Arc::new(open())));
    assert_eq!(credentials.redeem(&token, NOW).unwrap(), claims);
    let error = credentials.redeem(&token, claims.expires_ms).unwrap_err();
    assert!(matches!(error, RedeemError::Expired { claims: Some(found) } if *found == claims));
    // The next one after they may go sweeps them away.
    let later = claims.expires_ms + LINGER_MS + 1;
    let other =
        credentials.issue(&IssueRequest { guid: "other".to_owned(), ..request.clone() }, later).unwrap();
    let error = credentials.redeem(&token, later).unwrap_err();
    assert!(matches!(error, RedeemError::Expired { claims: None }), "{error:?}");
    assert!(credentials.redeem(&other.token, later).is_ok());
}

#[test]
fn a_store_that_is_away_or_empty_or_lies_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(&store_path(dir.path()), &Shared::new(0)).unwrap());
    let credentials = with_store(&dir, Some(store.clone()));
    let request = IssueRequest { by_reference: true, ..request() };
    let token = credentials.issue(&request, NOW).unwrap().token;
    let broken = with_store(&dir, Some(Arc::new(Broken)));
    assert!(matches!(broken.issue(&request, NOW), Err(IssueError::Store(_))));
    let error = broken.redeem(&token, NOW).unwrap_err();
    assert!(matches!(error, RedeemError::Store(_)) && error.code().is_none());
    let none = with_store(&dir, None);
    assert!(matches!(none.issue(&request, NOW), Err(IssueError::NoStore)));
    assert!(matches!(none.redeem(&token, NOW), Err(RedeemError::Lost)));
    // Other claims under the name, such as from a store that was mixed up.
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    let name = Reference::decode(Parts::of(&bytes).unwrap().payload).unwrap().name;
    let other = credentials.issue(&IssueRequest { bid_micros: 1, ..self::request() }, NOW).unwrap().claims;
    store.put(&name, &token::encode(&other), NOW + HOUR, NOW).unwrap();
    assert_eq!(flaw(credentials.redeem(&token, NOW)), Flaw::Stored);
}

#[tokio::test]
async fn the_service_names_the_wrong_field() {
    let (_dir, credentials) = credentials();
    let credentials = Arc::new(credentials);
    let clock = SourceClock::Set(Arc::new(AtomicU64::new(NOW)));
    let service = CredentialService::new(credentials.clone(), clock);
    let issued = service.issue(Request::new(request())).await.unwrap().into_inner();
    assert_eq!((issued.guid, issued.expires_ms), (request().guid, NOW + HOUR));
    assert!(credentials.redeem_async(&issued.token, NOW).await.is_ok());
    let wrong = IssueRequest { billing: "cpx".to_owned(), ..request() };
    let status = service.issue(Request::new(wrong)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "`billing` is not cpc, cpm, cpa or cps")
    );
    let by_reference = IssueRequest { by_reference: true, ..request() };
    let status = service.issue(Request::new(by_reference)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_claims_come_back_from_a_token_that_fits(
        guid in "[^/:]{1,60}",
        texts in prop::array::uniform2("\\PC{0,60}"),
        ids in prop::array::uniform3(1u64..),
        billing in prop::sample::select(vec!["cpc", "cpm", "cpa", "cps"]),
        bid_micros in 1u64..,
        currency in prop::sample::select(vec!["", "EUR", "JPY"]),
        path in "[ -~]{0,2000}",
        lifetime_s in 1u32..86_401,
        fill in any::<bool>(),
    ) {
        let (_dir, credentials) = credentials();
        let [mut user_id, mut slot] = texts;
        if fill {
            // As long as may be.
            user_id = "u".repeat(255);
            slot = "s".repeat(255);
        }
        let request = IssueRequest {
            guid, advertiser_id: ids[0], campaign_id: ids[1], ad_id: ids[2], billing: billing.to_owned(),
            bid_micros, currency: currency.to_owned(), slot, user_id,
            landing_url: format!("https://a.example/{path}"), lifetime_s, by_reference: false,
        };
        match credentials.issue(&request, NOW) {
            Ok(Issued { token, claims }) => {
                prop_assert!(token.len() <= MAX_TOKEN);
                prop_assert_eq!(&claims.guid, &request.guid);
                prop_assert_eq!(credentials.redeem(&token, NOW).unwrap(), claims);
            }
            // Escaped it was too long.
            Err(error) => prop_assert!(error.to_string().starts_with("`landing_url` is longer"), "{}", error),
        }
    }
}
