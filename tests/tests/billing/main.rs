//! Balances, charges, refunds, the ledger database and what is sent to the account system.

mod commands;
mod deliver;
mod ledger;
mod money;
mod reconcile;
mod statement;
