use super::*;

fn refusal() -> Value {
    json!({
        "advertiser_id": 36, "outcome": "refused", "reason": "daily_budget", "amount_nanos": 250_000_000,
        "balance_after_nanos": "99999999999999999999", "provenance": { "offset": 101, "stage": "deduct" },
    })
}

fn charge() -> Value {
    json!({ "advertiser_id": 18_446_744_073_709_551_615_u64, "outcome": "charged", "reason": null })
}

fn accepts(source: &str, row: &Value) -> bool {
    let filter = Filter::new(Topic::Charges, source).unwrap_or_else(|e| panic!("{source}: {e}"));
    filter.accepts(row).unwrap_or_else(|e| panic!("{source}: {e}"))
}

fn refused(source: &str) -> String {
    Filter::new(Topic::Charges, source)
        .err()
        .map_or_else(|| panic!("{source} is accepted"), |e| e.to_string())
}

#[test]
fn fields_are_compared_as_people_write_them() {
    for source in [
        r#"advertiser_id == 36 && outcome == "refused""#,
        "amount_nanos > 1000000 && amount_nanos <= 250000000",
        "balance_after_nanos > 1000000",
        "provenance.offset > 100 && provenance.stage == 'deduct'",
        "reason.startsWith('daily')",
        "outcome in ['refused', 'charged']",
        "['a', 'daily_budget'].exists(r, r == reason)",
        "reason != null",
    ] {
        assert!(accepts(source, &refusal()), "{source}");
    }
    assert!(!accepts("advertiser_id == 37", &refusal()));
    assert!(accepts("advertiser_id > 36", &charge()), "an id beyond 63 bits");
}

#[test]
fn what_a_record_does_not_have_is_null() {
    for source in [
        "amount_nanos > 5",
        "!(amount_nanos > 5)",
        "amount_nanos == 5",
        "reason.startsWith('daily')",
        "reason == 'daily_budget' || amount_nanos > 5",
        "tick > 5",
    ] {
        assert!(!accepts(source, &charge()), "{source}");
    }
    assert!(accepts("reason == null", &charge()));
    assert!(accepts("amount_nanos > 5 || outcome == 'charged'", &charge()));
}

#[test]
fn what_cannot_be_understood_is_refused_with_its_place() {
    assert!(refused("advertiser_id ==").contains("column 17"), "{}", refused("advertiser_id =="));
    for source in ["", "(", "advertiser_id = 36", "outcome == \"refused", "a b", "\u{1f600}", "&&"] {
        let said = refused(source);
        assert!(said.contains("column") && said.contains("Example"), "{source}: {said}");
    }
    assert!(refused("advertizer_id == 36").contains("advertizer_id"));
    assert!(refused("outcome == 'refused' && advertizer_id == 36").contains("balance_after_nanos"));
    assert!(refused("provenance.ofset > 1").contains("ofset"));
    assert!(refused("nofunction(advertiser_id)").contains("nofunction"));
}

#[test]
fn what_is_neither_true_nor_false_is_refused() {
    assert!(refused("advertiser_id + 1").contains("int"));
    assert!(refused("reason").contains("string"));
    assert!(refused("advertiser_id > 'x'").contains("worked out"));
}

#[test]
fn what_depends_on_the_values_is_found_with_the_record() {
    let filter = Filter::new(Topic::Charges, "10 / (advertiser_id - 1) > 0").unwrap();
    assert!(!filter.accepts(&refusal()).unwrap());
    assert!(filter.accepts(&json!({ "advertiser_id": 1 })).is_err());
}

#[test]
fn what_would_exhaust_the_stack_is_refused() {
    for long in [format!("1{} > 0", "+1".repeat(20_000)), format!("provenance{}", ".offset".repeat(20_000))] {
        assert!(refused(&long).starts_with(&format!("--where has {} bytes", long.len())));
    }
}
