//! Why a worker cannot be in its group.

use crate::log::LogError;

/// A worker cannot be in its group.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The log, or the group that it knows of.
    #[error(transparent)]
    Log(#[from] LogError),
    /// ZooKeeper does not do what it is asked for.
    #[error("cannot {what} in ZooKeeper at {servers}: {source}. {}", advice(source))]
    ZooKeeper {
        /// What was tried.
        what: &'static str,
        /// As they were given.
        servers: String,
        /// What it says.
        source: zookeeper_client::Error,
    },
    /// A node that no worker of this version has written.
    #[error(
        "{path} in ZooKeeper at {servers} is not what weir writes there: give the group a path of its own in \
         `group.zookeeper.path`, or delete that node"
    )]
    Foreign {
        /// The node.
        path: String,
        /// As they were given.
        servers: String,
    },
    /// Its client cannot work.
    #[error(
        "the system gives no threads for the client of ZooKeeper: {0}. Give the process more threads or memory"
    )]
    Runtime(#[source] std::io::Error),
}

impl GroupError {
    /// Whether it may be over after a while, without anybody's doing.
    pub fn is_away(&self) -> bool {
        match self {
            GroupError::Log(error) => error.is_away(),
            GroupError::ZooKeeper { source, .. } => is_away(source),
            GroupError::Foreign { .. } | GroupError::Runtime(_) => false,
        }
    }
}

/// A connection may be lost in more ways than have names; what somebody has to see to has one.
fn is_away(source: &zookeeper_client::Error) -> bool {
    use zookeeper_client::Error;
    !matches!(
        source,
        Error::NoAuth
            | Error::AuthFailed
            | Error::InvalidAcl
            | Error::BadArguments(_)
            | Error::MarshallingError
            | Error::Unimplemented
    )
}

fn advice(source: &zookeeper_client::Error) -> &'static str {
    use zookeeper_client::Error;
    match source {
        Error::NoAuth | Error::AuthFailed | Error::InvalidAcl => {
            "Put a user and a password that may write there into the file that `group.zookeeper.auth_file` names"
        }
        Error::BadArguments(_) => "Correct `group.zookeeper.servers` and `group.zookeeper.path`",
        _ if is_away(source) => "It is tried again: see that it runs and can be reached",
        _ => "See what its own log says",
    }
}
