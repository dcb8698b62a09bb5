//! The service that issues credentials, over gRPC.

use super::{Credentials, IssueError};
use crate::clock::SourceClock;
use std::sync::Arc;
use tonic::{Request, Response, Status};
use weir_proto::rpc::credentials_server;
use weir_proto::rpc::{IssueRequest, IssueResponse};

/// Issues the credentials of a job.
pub struct CredentialService {
    credentials: Arc<Credentials>,
    clock: SourceClock,
}

impl CredentialService {
    /// With a clock of its own or of a test.
    pub fn new(credentials: Arc<Credentials>, clock: SourceClock) -> Self {
        CredentialService { credentials, clock }
    }
}

#[tonic::async_trait]
impl credentials_server::Credentials for CredentialService {
    async fn issue(&self, request: Request<IssueRequest>) -> Result<Response<IssueResponse>, Status> {
        let (request, now_ms) = (request.into_inner(), self.clock.now_ms());
        let issued = match request.by_reference {
            false => self.credentials.issue(&request, now_ms),
            // It waits for the disk.
            true => {
                let credentials = self.credentials.clone();
                let issue = move || credentials.issue(&request, now_ms);
                tokio::task::spawn_blocking(issue).await.map_err(|e| Status::internal(e.to_string()))?
            }
        };
        let issued = issued.map_err(status_of)?;
        let (guid, expires_ms) = (issued.claims.guid, issued.claims.expires_ms);
        Ok(Response::new(IssueResponse { token: issued.token, guid, expires_ms }))
    }
}

fn status_of(error: IssueError) -> Status {
    let text = error.to_string();
    match error {
        IssueError::Field(_) => Status::invalid_argument(text),
        IssueError::NoStore => Status::failed_precondition(text),
        IssueError::Store(_) => Status::unavailable(text),
        IssueError::NoKeys | IssueError::NoRandomness(_) => Status::internal(text),
    }
}
