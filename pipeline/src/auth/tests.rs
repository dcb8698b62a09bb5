//! Tokens: their file, when they are valid, and that nothing gives them away.

use super::*;
use std::fs;

fn made(name: &str, role: Role) -> NewToken {
    NewToken::make(name, role, None).unwrap()
}

/// What was valid a second ago may still be.
fn until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_new_token_is_valid_under_its_name_and_role() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let [one, two] = [made("ads-eu", Role::Collector), made("ops@example.com", Role::Operator)];
    add_token(&path, &one.section).unwrap();
    add_token(&path, &two.section).unwrap();
    let auth = Auth::open(&path).unwrap();
    assert_eq!(auth.check(one.token.as_bytes()), Some(("ads-eu".to_owned(), Role::Collector)));
    assert_eq!(auth.check(two.token.as_bytes()), Some(("ops@example.com".to_owned(), Role::Operator)));
    for wrong in ["", "weir_", &one.token[1..], &one.token.to_uppercase()] {
        assert_eq!(auth.check(wrong.as_bytes()), None, "{wrong}");
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&one.token) && !format!("{auth:?}").contains("sha256"), "{auth:?}");
    let error = add_token(&path, &made("ads-eu", Role::Analyst).section).unwrap_err().to_string();
    assert!(error.contains("two tokens named \"ads-eu\""), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_changed_file_counts_within_a_second_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let [old, new] = [made("old", Role::Analyst), made("new", Role::Operator)];
    add_token(&path, &old.section).unwrap();
    let auth = Auth::open(&path).unwrap();
    let valid = |token: &NewToken| auth.check(token.token.as_bytes()).is_some();
    assert!(valid(&old) && !valid(&new));
    add_token(&path, &new.section).unwrap();
    until(|| valid(&new));
    assert!(valid(&old));
    // Taken back.
    fs::write(&path, &new.section).unwrap();
    until(|| !valid(&old));
    fs::write(&path, "[[token]]\nname = 5").unwrap();
    std::thread::sleep(LOOK_EVERY * 2);
    assert!(valid(&new) && !valid(&old));
    fs::remove_file(&path).unwrap();
    std::thread::sleep(LOOK_EVERY * 2);
    assert!(valid(&new));
    fs::write(&path, &old.section).unwrap();
    until(|| valid(&old) && !valid(&new));
}

#[test]
fn an_expired_token_is_not_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let hour = jiff::SignedDuration::from_hours(1);
    let with_end = |name, end| NewToken::make(name, Role::Analyst, Some(end)).unwrap();
    let [past, future] =
        [with_end("past", Timestamp::now() - hour), with_end("future", Timestamp::now() + hour)];
    add_token(&path, &past.section).unwrap();
    add_token(&path, &future.section.replace("expires = ", "expires = \"").replace("Z\n", "Z\"\n")).unwrap();
    let auth = Auth::open(&path).unwrap();
    assert!(auth.check(past.token.as_bytes()).is_none());
    assert!(auth.check(future.token.as_bytes()).is_some());
}

#[test]
fn a_wrong_file_is_refused_without_quoting_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let hash = "ab".repeat(32);
    let section = |name: &str, role: &str, sha256: &str, more: &str| {
        format!("[[token]]\nname = \"{name}\"\nrole = \"{role}\"\nsha256 = \"{sha256}\"\n{more}")
    };
    let good = section("a", "analyst", &hash, "");
    for (text, problem) in [
        ("token = \"weir_secret\"\n".to_owned(), "line 1 is not as it should be"),
        (format!("{good}token = \"weir_secret\"\n"), "line 5 is not as it should be"),
        (section("a", "weir_secret", &hash, ""), "the role of the token \"a\""),
        (section("a", "analyst", "weir_secret", ""), "sha256 of the token \"a\""),
        (section("weir secret", "analyst", &hash, ""), "letters, digits"),
        (section("local", "analyst", &hash, ""), "whoever needs no token"),
        (section("a", "analyst", &hash, "expires = 2027-01-01\n"), "expires of the token \"a\""),
        (format!("{good}{}", section("b", "analyst", &hash, "")), "\"a\" and \"b\" are the same token"),
        (format!("{good}{good}"), "two tokens named \"a\""),
    ] {
        fs::write(&path, &text).unwrap();
        let error = Auth::open(&path).unwrap_err().to_string();
        assert!(error.contains(problem) && !error.contains("secret"), "{error}");
    }
    fs::write(&path, good).unwrap();
    Auth::open(&path).unwrap();
}

#[test]
fn roles_are_enough_for_what_they_are_meant_for() {
    let allowed = |path: &str| {
        let roles = [Role::Collector, Role::Analyst, Role::Operator];
        roles.map(|role| need_of(path).is_met_by(role))
    };
    for path in ["/v1/events", "/weir.v1.Collector/Collect", "/weir.v1.Credentials/Issue"] {
        assert_eq!(allowed(path), [true, false, true], "{path}");
    }
    for path in
        ["/metrics", "/weir.v1.Control/Status", "/weir.v1.Control/Tap", "/weir.v1.Control/Generations"]
    {
        assert_eq!(allowed(path), [false, true, true], "{path}");
    }
    let operators = ["Rewind", "Promote", "Drop", "DecideDead", "Submit", "Unheard", ""];
    let operators = operators.map(|method| format!("/weir.v1.Control/{method}"));
    for path in operators.iter().map(String::as_str).chain(["/", "", "/metrics/", "//metrics", "/Metrics"]) {
        assert_eq!(allowed(path), [false, false, true], "{path}");
    }
    for path in ["/healthz", "/c", "/i.gif", "/win", "/grpc.health.v1.Health/Check"] {
        assert_eq!(need_of(path), Need::Nothing, "{path}");
    }
}
