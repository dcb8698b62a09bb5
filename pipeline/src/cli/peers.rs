//! What the other workers of a group say.

use super::access::connect;
use super::session::said;
use std::time::Duration;
use tokio::runtime::Runtime;
use weir_proto::StageId;
use weir_proto::rpc::{StatusRequest, StatusResponse, TaskStatus};

/// How long one of them may take to answer: it may stand still.
const PATIENCE: Duration = Duration::from_secs(5);

/// Adds the tasks of the other workers to what one of them has answered. A worker that does not answer is said, and left
/// out.
pub(super) fn add_others(runtime: &Runtime, status: &mut StatusResponse) {
    for worker in status.workers.clone() {
        if has_answered(status, worker.worker) {
            continue;
        }
        let answer = connect(runtime, &worker.address).and_then(|mut client| {
            let mut request = tonic::Request::new(StatusRequest {});
            request.set_timeout(PATIENCE);
            let asked = async { tokio::time::timeout(PATIENCE, client.status(request)).await };
            let late = |_| Err(tonic::Status::deadline_exceeded("it does not answer"));
            runtime.block_on(asked).unwrap_or_else(late).map(tonic::Response::into_inner).map_err(said)
        });
        match answer {
            Ok(other) => {
                // While a partition moves two of them may have it.
                let new: Vec<_> = other.tasks.into_iter().filter(|task| !is_known(status, task)).collect();
                status.tasks.extend(new);
                status.takeovers.extend(other.takeovers);
            }
            Err(_) => eprintln!(
                "worker {} does not answer at {}: its tasks are left out",
                worker.worker, worker.address
            ),
        }
    }
    status.takeovers.sort_by_key(|takeover| takeover.at_ms);
    if !status.workers.is_empty() {
        status.tasks.sort_by_key(|task| (task.generation, order(task), task.partition));
    }
}

/// Whether a worker's own tasks are there: each has a collect of its number.
fn has_answered(status: &StatusResponse, worker: u32) -> bool {
    status.tasks.iter().any(|task| task.partition == worker && task.stage == StageId::Collect.name())
}

fn is_known(status: &StatusResponse, task: &TaskStatus) -> bool {
    let same = |t: &TaskStatus| {
        (&t.stage, t.partition, t.generation) == (&task.stage, task.partition, task.generation)
    };
    status.tasks.iter().any(same)
}

/// In flow order.
fn order(task: &TaskStatus) -> Option<StageId> {
    StageId::ALL.into_iter().find(|stage| stage.name() == task.stage)
}
