//! What the books of deduct and of post-process say together.

use serde::Serialize;
use weir_operators::deduct::Account;
use weir_operators::post_process::Entry;
use weir_proto::Nanos;

/// How all balances came to be what they are.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Money {
    /// Sum of the balances that accounts files brought forward.
    pub opening_nanos: Nanos,
    /// Sum of the opening balances of all other accounts and of all that was paid in.
    pub deposited_nanos: Nanos,
    /// Sum of all that was paid out.
    pub withdrawn_nanos: Nanos,
    /// Sum of all charges.
    pub charged_nanos: Nanos,
    /// Sum of all that was given back of them.
    pub credited_nanos: Nanos,
    /// Sum of all balances.
    pub closing_nanos: Nanos,
}

impl Money {
    /// Adds those of an advertiser.
    pub fn add(&mut self, entry: &Entry, account: Option<&Account>) {
        self.opening_nanos.0 += entry.opened;
        self.deposited_nanos.0 += entry.deposited;
        self.withdrawn_nanos.0 += entry.withdrawn;
        self.charged_nanos.0 += entry.charged;
        self.credited_nanos.0 += entry.credited;
        self.closing_nanos.0 += account.map_or(0, |a| a.balance);
    }
}

/// What does not agree in the two books of an advertiser, if anything.
pub fn difference(id: u64, entry: &Entry, account: Option<&Account>) -> Option<String> {
    let expected = entry.balance();
    let Some(account) = account else {
        return (expected != Ok(Nanos::ZERO))
            .then(|| format!("advertiser {id} has no account, but moved money"));
    };
    (expected != Ok(Nanos(account.balance))).then(|| {
        let Entry { opened, deposited, withdrawn, charged, credited, .. } = *entry;
        format!(
            "advertiser {id}: opening {} + deposited {} − withdrawn {} − charged {} + credited {} is not the \
             balance {}",
            Nanos(opened),
            Nanos(deposited),
            Nanos(withdrawn),
            Nanos(charged),
            Nanos(credited),
            Nanos(account.balance)
        )
    })
}
