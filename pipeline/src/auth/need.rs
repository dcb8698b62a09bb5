//! What each request needs: the list of all that Weir serves, on whichever port.

use super::Role;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it comes from browsers, or from whoever looks whether the job lives.
    Nothing,
    /// Any valid token.
    Token,
    /// Leave to hand events in.
    Collect,
    /// Leave to look.
    Look,
    /// Leave to change something.
    Operate,
}

impl Need {
    /// Whether a role is enough.
    pub fn is_met_by(self, role: Role) -> bool {
        match self {
            Need::Nothing | Need::Token => true,
            Need::Collect => matches!(role, Role::Collector | Role::Operator),
            Need::Look => matches!(role, Role::Analyst | Role::Operator),
            Need::Operate => role == Role::Operator,
        }
    }

    /// The lowest role that is enough, in words.
    pub(super) fn role(self) -> &'static str {
        match self {
            Need::Nothing | Need::Token => "any",
            Need::Collect => Role::Collector.name(),
            Need::Look => Role::Analyst.name(),
            Need::Operate => Role::Operator.name(),
        }
    }
}

/// What a request for a path needs. A method of gRPC is the path `/package.Service/Method`.
pub fn need_of(path: &str) -> Need {
    if let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        match service {
            "grpc.health.v1.Health" => return Need::Nothing,
            "grpc.reflection.v1.ServerReflection" => return Need::Token,
            "weir.v1.Collector" | "weir.v1.Credentials" => return Need::Collect,
            "weir.v1.Control" => {
                return match method {
                    // To flush, or to gather, changes nothing but what a reader of the books finds on disk.
                    "Status" | "Generations" | "Switches" | "Flush" | "Gather" | "Tap" => Need::Look,
                    _ => Need::Operate,
                };
            }
            _ => {}
        }
    }
    match path {
        // What browsers ask for carries a signed credential of its own.
        "/healthz" | "/c" | "/i.gif" | "/win" => Need::Nothing,
        "/v1/events" => Need::Collect,
        "/metrics" => Need::Look,
        _ => Need::Operate,
    }
}
