//! Account commands, as they stand in `judged`.
//!
//! Layout, little-endian: `kind u8 = 3, zero [7], advertiser u64, daily_budget i128, balance i128`.

use crate::bytes::{i128_at, u64_at};
use crate::money::Nanos;
use crate::record::{KIND_ACCOUNT_OPEN, RecordError, expect_len};

/// Opens an account with a balance and a budget for each UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountOpen {
    /// Whose account.
    pub advertiser_id: u64,
    /// The most that may be charged on one UTC day of event time.
    pub daily_budget: Nanos,
    /// The opening balance.
    pub balance: Nanos,
}

impl AccountOpen {
    const LEN: usize = 48;

    /// The record's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        b[0] = KIND_ACCOUNT_OPEN;
        b[8..16].copy_from_slice(&self.advertiser_id.to_le_bytes());
        b[16..32].copy_from_slice(&self.daily_budget.0.to_le_bytes());
        b[32..48].copy_from_slice(&self.balance.0.to_le_bytes());
        b
    }

    pub(crate) fn decode(b: &[u8]) -> Result<Self, RecordError> {
        expect_len("account command", b, Self::LEN)?;
        Ok(AccountOpen {
            advertiser_id: u64_at(b, 8),
            daily_budget: Nanos(i128_at(b, 16)),
            balance: Nanos(i128_at(b, 32)),
        })
    }
}
