//! Switches, as the control service shows and sets them.

use super::{Name, Setting, Shown, Switches};
use crate::error::JobError;
use weir_proto::rpc;

/// The longest reason, in bytes: it stands in the control log for good.
const LONGEST: usize = 1_000;

/// All switches.
pub fn list(switches: &Switches) -> rpc::SwitchesResponse {
    rpc::SwitchesResponse { switches: switches.all().iter().map(|s| shown(s.shown())).collect() }
}

/// Sets one, for somebody.
pub fn set(switches: &Switches, request: &rpc::SetSwitchRequest, by: &str) -> Result<rpc::Switch, JobError> {
    let rpc::SetSwitchRequest { name, setting, why } = request;
    let name = Name::parse(name)?;
    let setting = Setting::parse(setting)
        .ok_or_else(|| JobError::Invalid(format!("{setting:?} is no setting: there are on, off and auto")))?;
    if why.len() > LONGEST {
        let length = why.len();
        return Err(JobError::Invalid(format!(
            "a reason of {length} bytes is too long: say it in {LONGEST}"
        )));
    }
    let switch = switches.get(name);
    switch.set(setting, by, why)?;
    Ok(shown(switch.shown()))
}

fn shown(switch: Shown) -> rpc::Switch {
    rpc::Switch {
        name: switch.name.name().to_owned(),
        about: switch.name.about().to_owned(),
        cost: switch.name.cost().to_owned(),
        setting: switch.setting.name().to_owned(),
        on: switch.is_on,
        why: switch.why,
        trips: switch.trips,
    }
}
