//! Amounts as numbers: sums, scales, what goes over the wire. Nothing wraps and no digit is lost.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_proto::rpc::Money;
use weir_proto::{Currency, Guid, Minute, Nanos};

type Input = ((i128, i128), (u64, i64, u32), (i64, i32, String), (u128, u32));

fuzz_target!(|input: Input| {
    let ((a, b), (micros, amount, scale), (units, nanos, currency_code), (ulid, minute)) = input;
    sums(Nanos(a), Nanos(b));
    assert_eq!(Nanos::from_micros(micros).0, i128::from(micros) * 1_000);
    if let Some(read) = Nanos::from_scaled(amount, scale) {
        // Every other count of the same value reads as the same.
        let other = amount.checked_mul(10).zip(scale.checked_add(1));
        if let Some((amount, scale)) = other {
            assert_eq!(Nanos::from_scaled(amount, scale), Some(read));
        }
        if scale <= 9 {
            assert_eq!(read.0, i128::from(amount) * 10i128.pow(9 - scale));
        }
    }
    let money = Money { currency_code, units, nanos };
    if let Some((amount, currency)) = money.read() {
        assert_eq!(amount.to_wire(currency).as_ref(), Ok(&money));
        assert_eq!(money.read_in(Currency::default()), money.read());
    }
    weir_fuzz::assert_shown(&Guid::Ulid(ulid));
    let minute = Minute(minute);
    match minute.to_string().parse::<Minute>() {
        Ok(read) => assert_eq!(read, minute),
        // Beyond the year 9999 there is no date.
        Err(_) => assert!(minute.start_ms() > 253_402_000_000_000),
    }
});

fn sums(a: Nanos, b: Nanos) {
    assert_eq!(a.checked_add(b).ok().map(|n| n.0), a.0.checked_add(b.0));
    assert_eq!(a.checked_sub(b).ok().map(|n| n.0), a.0.checked_sub(b.0));
    assert_eq!(a.negated().ok().map(|n| n.0), a.0.checked_neg());
    match a.to_wire(Currency::default()) {
        Ok(wire) => {
            assert_eq!(wire.read(), Some((a, Currency::default())));
            assert_eq!(a.to_string().parse().ok(), (wire.units > i64::MIN).then_some(a));
        }
        Err(_) => assert!(i64::try_from(a.0 / Nanos::PER_UNIT).is_err()),
    }
    // Shown, it has nine decimals and every digit.
    let digits = a.to_string().replace('.', "");
    assert_eq!(digits.parse(), Ok(a.0));
}
