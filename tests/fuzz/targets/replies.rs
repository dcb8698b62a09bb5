//! What the account system answers, and what a file for `weir reply` says: each command that comes of it names
//! its amount in full, and the same reply has the same key.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_pipeline::fuzzing;
use weir_proto::rpc::command::Action;
use weir_proto::{MessageId, Nanos, rpc};

fuzz_target!(|text: &str| {
    for command in fuzzing::replies(text).into_iter().flatten().flat_map(|read| read.ok().flatten()) {
        judge(command);
    }
    for command in fuzzing::reply_file(text).into_iter().flatten() {
        judge(command);
    }
});

fn judge(mut command: rpc::Command) {
    let Some(Action::Reply(reply)) = &command.action else { panic!("{command:?} is no reply") };
    assert!(command.key.starts_with(&format!("reply/{}/", reply.message_id)));
    let (id, amount, scale) = (reply.message_id.clone(), reply.amount, reply.scale);
    command.advertiser_id = 1;
    if fuzzing::check_command(&command).is_err() {
        return;
    }
    // One message has one id, so that the same reply is not taken for two.
    let parsed = MessageId::parse(&id).expect("it was checked");
    assert_eq!(parsed.to_string(), id);
    if let Some(nanos) = Nanos::from_scaled(amount, scale) {
        assert_eq!(nanos.0.signum(), i128::from(amount.signum()));
    }
}
