//! Commands as their senders mean them, and what they are answered.

use crate::machine::Output;
use weir_proto::rpc::{self, command::Action};
use weir_proto::{Answer, Charge, Record};

/// Its answer, and the charge behind it.
pub fn read(outputs: &[Output]) -> (Answer<'_>, Option<Charge<'_>>) {
    let (mut answers, mut charges) = (Vec::new(), Vec::new());
    for (_, bytes) in outputs {
        match Record::decode(bytes).unwrap() {
            Record::Answer(answer) => answers.push(answer),
            Record::Charge(charge) => charges.push(charge),
            other => panic!("{other:?}"),
        }
    }
    assert!(answers.len() == 1 && charges.len() < 2, "answered once: {outputs:?}");
    (answers[0], charges.pop())
}

/// A command without what the job adds.
pub fn said(command: &rpc::Command) -> rpc::Command {
    let mut said = rpc::Command { time_ms: 0, ..command.clone() };
    match &mut said.action {
        Some(Action::Refund(refund)) => refund.original = None,
        Some(Action::Reply(reply)) => reply.original = None,
        _ => {}
    }
    said
}
