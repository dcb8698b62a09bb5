//! The control service of a job, over gRPC: where everything stands, and what becomes of generations.

use crate::error::JobError;
use crate::generations::{Generation, Standing};
use crate::job::{Job, Rewind};
use crate::log::Log;
use crate::rule_set::RuleSet;
use std::sync::Arc;
use tonic::{Request, Response, Status};
use weir_proto::rpc::control_server::Control;
use weir_proto::rpc::{self, GenerationsResponse, PartitionStatus, PromoteResponse, StatusResponse};
use weir_proto::{MessageId, Minute, StageId};

/// Answers for a job.
pub struct JobControl(pub Arc<Job>);

impl JobControl {
    /// What may wait for the disk or the tasks is done beside the other answers.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Job) -> Result<T, JobError> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let job = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&job)).await;
        done.map_err(|e| Status::internal(e.to_string()))?.map(Response::new).map_err(status_of_error)
    }
}

fn status_of_error(error: JobError) -> Status {
    match error {
        JobError::Refused(text) => Status::failed_precondition(text),
        JobError::Invalid(text) => Status::invalid_argument(text),
        JobError::Unanswered { .. } => Status::unavailable(error.to_string()),
        JobError::NoCut { .. } => Status::not_found(error.to_string()),
        JobError::State(weir_state::StateError::Damaged { .. }) => Status::data_loss(error.to_string()),
        other => Status::internal(other.to_string()),
    }
}

#[tonic::async_trait]
impl Control for JobControl {
    async fn status(&self, _: Request<rpc::StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(status(&self.0)))
    }

    async fn generations(
        &self,
        _: Request<rpc::GenerationsRequest>,
    ) -> Result<Response<GenerationsResponse>, Status> {
        let registry = self.0.registry();
        let published = registry.published();
        let all = registry.all();
        Ok(Response::new(GenerationsResponse {
            generations: all.iter().map(|(g, standing)| generation(&self.0, g, *standing)).collect(),
            published,
            minute: self.0.minute_of(published).0,
        }))
    }

    async fn rewind(
        &self,
        request: Request<rpc::RewindRequest>,
    ) -> Result<Response<rpc::Generation>, Status> {
        let request = request.into_inner();
        let rewind = asked(&request)?;
        self.blocking(move |job| {
            let begun = match request.back_to {
                0 => job.rewind(&rewind)?,
                id => job.go_back(id, &rewind)?,
            };
            Ok(generation(job, &begun, Standing::Candidate))
        })
        .await
    }

    async fn promote(
        &self,
        request: Request<rpc::PromoteRequest>,
    ) -> Result<Response<PromoteResponse>, Status> {
        let id = request.into_inner().generation;
        self.blocking(move |job| Ok(PromoteResponse { at_minute: job.promotion().decide(id)?.0 })).await
    }

    async fn drop(&self, request: Request<rpc::DropRequest>) -> Result<Response<rpc::DropResponse>, Status> {
        let id = request.into_inner().generation;
        self.blocking(move |job| job.promotion().give_up(id).map(|()| rpc::DropResponse {})).await
    }

    async fn submit(
        &self,
        request: Request<rpc::SubmitRequest>,
    ) -> Result<Response<rpc::SubmitResponse>, Status> {
        let command = request.into_inner().command.unwrap_or_default();
        self.blocking(move |job| job.submit(command)).await
    }

    async fn flush(&self, _: Request<rpc::FlushRequest>) -> Result<Response<rpc::FlushResponse>, Status> {
        self.blocking(|job| job.flush_books().map(|()| rpc::FlushResponse {})).await
    }

    async fn decide_dead(
        &self,
        request: Request<rpc::DecideDeadRequest>,
    ) -> Result<Response<rpc::DecideDeadResponse>, Status> {
        let rpc::DecideDeadRequest { ids, discard, reason } = request.into_inner();
        let wrong = |id: &String| Status::invalid_argument(format!("{id:?} is not the id of a record"));
        let ids: Result<Vec<_>, _> =
            ids.iter().map(|id| MessageId::parse(id).ok_or_else(|| wrong(id))).collect();
        let ids = ids?;
        self.blocking(move |job| {
            let decided = job.deliveries().decide(&job.scheduler(), &ids, discard, &reason)?;
            Ok(rpc::DecideDeadResponse { ids: decided.iter().map(MessageId::to_string).collect() })
        })
        .await
    }
}

fn asked(request: &rpc::RewindRequest) -> Result<Rewind, Status> {
    let invalid = |text: String| Status::invalid_argument(text);
    let from = match request.from_stage.as_str() {
        "" => StageId::AntiBrush,
        name => StageId::from_name(name)
            .filter(|s| s.folds())
            .ok_or_else(|| invalid(format!("{name} is not a stage that folds a topic")))?,
    };
    let rules = match request.rules.as_str() {
        "" => None,
        text => {
            let set: RuleSet = serde_json::from_str(text).map_err(|e| invalid(format!("the rules: {e}")))?;
            set.shared().map_err(|e| invalid(e.to_string()))?;
            Some(set)
        }
    };
    let (to, reason) = (Minute(request.to_minute), request.reason.clone());
    Ok(Rewind { to, from, rules, pause: request.pause, reason })
}

fn generation(job: &Job, g: &Generation, standing: Standing) -> rpc::Generation {
    let runs = matches!(standing, Standing::Candidate | Standing::Promoting | Standing::Published);
    let own = job.statuses().into_iter().filter(|s| s.task.generation == g.id);
    rpc::Generation {
        id: g.id,
        base: g.base,
        recorded: g.recorded,
        cut_minute: g.cut.0,
        from_stage: g.from.name().to_owned(),
        rules: g.rules,
        paused: g.paused,
        begun_ms: g.begun_ms,
        reason: g.reason.clone(),
        standing: standing.name().to_owned(),
        minute: if runs { job.minute_of(g.id).0 } else { 0 },
        lag: own.map(|s| s.lag()).sum(),
        caught_up: runs && job.has_caught_up(g.id),
        promoted_minute: job.registry().promoted_at(g.id).map_or(0, |m| m.0),
    }
}

fn status(job: &Job) -> StatusResponse {
    let log = job.log();
    let tasks = job.statuses();
    let tasks = tasks.iter().map(|s| rpc::TaskStatus {
        stage: s.task.stage.name().to_owned(),
        partition: u32::from(s.task.partition),
        generation: s.task.generation,
        position: s.position(),
        minimal_successful_offset: s.minimal_successful_offset(),
        lag: s.lag(),
        last_tick_minute: s.last_tick(),
        end: s.end(),
        checkpoint_minute: s.checkpoint().0,
    });
    let partitions = log.topics().into_iter().flat_map(|topic| {
        (0..job.dir().partitions()).map(move |partition| PartitionStatus {
            topic: topic.to_string(),
            partition,
            high_watermark: log.high_watermark(topic, partition),
        })
    });
    StatusResponse { tasks: tasks.collect(), partitions: partitions.collect(), ingest: None }
}
