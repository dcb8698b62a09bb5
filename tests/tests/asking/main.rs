//! What is asked of a job: tap, explain, audit.

mod audit_command;
mod explain;
mod tap;
