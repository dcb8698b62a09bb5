//! What must hold after every run, looked at from outside: from the log, the checkpoints and what was put
//! in. Nothing here asks the operators what they think.

mod cuts;
mod money;
mod outcomes;
mod records;
mod replay;

pub use records::Records;

use crate::run::{Broken, Run};

/// All of it; the first contract that is broken.
pub fn all(run: &mut Run) -> Result<(), Broken> {
    let records = Records::read(&run.world)?;
    outcomes::every_line_has_one(&run.world, &run.facts, &records)?;
    outcomes::every_command_has_an_answer(&run.world, &run.facts, &records)?;
    money::adds_up(&run.world, &run.facts, &records)?;
    let published = run.world.registry.published();
    run.count("runs that end in another generation", u64::from(published > 1));
    run.count("lines", run.facts.lines.len() as u64);
    run.count("commands", run.facts.commands.len() as u64);
    let charges = records.of_stage(&run.world, weir_proto::StageId::Deduct, weir_proto::Topic::Charges)?;
    let is_charged = |r: &&&records::Rec| r.bytes.get(1) == Some(&0) && r.bytes.len() > 8;
    let charged = charges.iter().filter(is_charged).count();
    run.count("charged or moved", charged as u64);
    run.count("refused", (charges.len() - charged) as u64);
    cuts::are_consistent(&run.world, &records)?;
    replay::is_exact(&mut run.world)
}
