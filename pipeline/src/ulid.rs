//! New ids that nobody else has.

use weir_proto::Guid;

/// A ULID of now.
pub(crate) fn new(now_ms: u64) -> Result<String, getrandom::Error> {
    let mut random = [0; 10];
    getrandom::fill(&mut random)?;
    let low = random.iter().fold(0u128, |n, byte| n << 8 | u128::from(*byte));
    Ok(Guid::Ulid(u128::from(now_ms) << 80 | low).to_string())
}
