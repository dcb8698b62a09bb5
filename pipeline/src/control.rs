//! The control service of a job, over gRPC: where everything stands, and what becomes of generations.

use crate::auth::{Caller, Role};
use crate::error::JobError;
use crate::generations::{Generation, Standing};
use crate::host::Host;
use crate::ingest::Front;
use crate::job::{Job, Rewind};
use crate::rule_set::RuleSet;
use crate::switches::service;
use crate::tap::service::{self as service_of_taps, Rows};
use serde_json::{Value, json};
use std::sync::Arc;
use tonic::{Request, Response, Status};
use weir_proto::rpc::control_server::Control;
use weir_proto::rpc::{self, GenerationsResponse, PartitionStatus, PromoteResponse, StatusResponse};
use weir_proto::{MessageId, Minute, StageId};

/// Answers for a job.
pub struct JobControl {
    /// Where the job is.
    pub host: Arc<Host>,
    /// Where events come in over the network, if they do.
    pub front: Option<Arc<Front>>,
}

impl JobControl {
    fn job(&self) -> Result<Arc<Job>, Status> {
        self.host.job().ok_or_else(|| {
            Status::unavailable("the job is being opened again, since a disk was full: try again in a moment")
        })
    }

    /// What may wait for the disk or the tasks is done beside the other answers.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Job) -> Result<T, JobError> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let job = self.job()?;
        let done = tokio::task::spawn_blocking(move || work(&job)).await;
        done.map_err(|e| Status::internal(e.to_string()))?.map(Response::new).map_err(status_of_error)
    }
}

/// What an operator asks for, as it is to be written down.
struct Asked {
    caller: Caller,
    action: &'static str,
    arguments: Value,
}

impl Asked {
    /// Anybody who comes so far may ask; without a guard in front it is this process.
    fn new<T>(request: &Request<T>, action: &'static str, arguments: impl FnOnce(&T) -> Value) -> Self {
        let caller = request.extensions().get().cloned().unwrap_or_else(Caller::local);
        Asked { caller, action, arguments: arguments(request.get_ref()) }
    }

    /// Does it, and writes it down before and after.
    async fn done<T: Send + 'static>(
        self,
        control: &JobControl,
        work: impl FnOnce(&Job) -> Result<T, JobError> + Send + 'static,
        answer: impl FnOnce(&T) -> Value + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let Asked { caller, action, arguments } = self;
        let recorded =
            move |job: &Job| job.operations().record(&caller, action, arguments, || work(job), answer);
        control.blocking(recorded).await
    }
}

fn status_of_error(error: JobError) -> Status {
    match error {
        JobError::Refused(text) => Status::failed_precondition(text),
        JobError::Overtaken => Status::failed_precondition(error.to_string()),
        JobError::Invalid(text) => Status::invalid_argument(text),
        JobError::Unanswered { .. } => Status::unavailable(error.to_string()),
        away if away.is_away() => Status::unavailable(away.to_string()),
        JobError::NoCut { .. } => Status::not_found(error.to_string()),
        JobError::State(weir_state::StateError::Damaged { .. }) => Status::data_loss(error.to_string()),
        other => Status::internal(other.to_string()),
    }
}

/// Only operators see users as they are, and it is written down that they did.
async fn tap(control: &JobControl, request: Request<rpc::TapRequest>) -> Result<Response<Rows>, Status> {
    if request.get_ref().unmasked {
        let is_operator = request.extensions().get().is_none_or(|c: &Caller| c.role == Role::Operator);
        if !is_operator {
            let text = "users are shown as they are to operators alone; leave `unmasked` off";
            return Err(Status::permission_denied(text));
        }
        let written = Asked::new(
            &request,
            "tap_unmasked",
            |r| json!({ "topic": r.topic, "from": r.from, "until": r.until, "where": r.r#where, "limit": r.limit }),
        );
        written.done(control, |_| Ok(()), |()| Value::Null).await?;
    }
    Ok(Response::new(service_of_taps::begin(&control.job()?, request.into_inner()).await?))
}

#[tonic::async_trait]
impl Control for JobControl {
    type TapStream = Rows;

    async fn tap(&self, request: Request<rpc::TapRequest>) -> Result<Response<Rows>, Status> {
        tap(self, request).await
    }

    async fn status(&self, _: Request<rpc::StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let job = self.host.job();
        let asked = job.clone();
        let asked = tokio::task::spawn_blocking(move || asked.as_deref().map(status).unwrap_or_default());
        let mut response = asked.await.map_err(|e| Status::internal(e.to_string()))?;
        let pressure = job.as_ref().map(|job| &*job.deliveries().pressure);
        response.ingest = self.front.as_ref().map(|front| crate::ingest::status(front, pressure));
        Ok(Response::new(response))
    }

    async fn generations(
        &self,
        _: Request<rpc::GenerationsRequest>,
    ) -> Result<Response<GenerationsResponse>, Status> {
        self.blocking(|job| {
            let published = job.registry().published();
            let all = job.registry().all();
            let generations = all.iter().map(|(g, standing)| generation(job, g, *standing));
            Ok(GenerationsResponse {
                generations: generations.collect::<Result<_, _>>()?,
                published,
                minute: known(job.promotion().minute_of(published))?.unwrap_or_default().0,
            })
        })
        .await
    }

    async fn rewind(
        &self,
        request: Request<rpc::RewindRequest>,
    ) -> Result<Response<rpc::Generation>, Status> {
        let rewind = asked(request.get_ref())?;
        let rules = rewind.rules.as_ref().map(|rules| format!("{:016x}", rules.fingerprint()));
        let written = Asked::new(&request, "rewind", |r| {
            json!({
                "to_minute": r.to_minute, "from_stage": r.from_stage, "back_to": r.back_to, "pause": r.pause,
                "rules": rules, "reason": r.reason,
            })
        });
        let back_to = request.into_inner().back_to;
        let work = move |job: &Job| {
            let begun = match back_to {
                0 => job.rewind(&rewind)?,
                id => job.go_back(id, &rewind)?,
            };
            generation(job, &begun, Standing::Candidate)
        };
        written.done(self, work, |g: &rpc::Generation| json!({ "generation": g.id })).await
    }

    async fn promote(
        &self,
        request: Request<rpc::PromoteRequest>,
    ) -> Result<Response<PromoteResponse>, Status> {
        let written = Asked::new(&request, "promote", |r| json!({ "generation": r.generation }));
        let id = request.into_inner().generation;
        let work = move |job: &Job| Ok(PromoteResponse { at_minute: job.promotion().decide(id)?.0 });
        written.done(self, work, |p: &PromoteResponse| json!({ "at_minute": p.at_minute })).await
    }

    async fn drop(&self, request: Request<rpc::DropRequest>) -> Result<Response<rpc::DropResponse>, Status> {
        let written = Asked::new(&request, "drop", |r| json!({ "generation": r.generation }));
        let id = request.into_inner().generation;
        let work = move |job: &Job| job.promotion().give_up(id).map(|()| rpc::DropResponse {});
        written.done(self, work, |_| Value::Null).await
    }

    async fn submit(
        &self,
        request: Request<rpc::SubmitRequest>,
    ) -> Result<Response<rpc::SubmitResponse>, Status> {
        let written = Asked::new(&request, "submit", |r| {
            let command = r.command.as_ref();
            json!({
                "command": command.map(rpc::Command::action_name),
                "key": command.map(|c| c.key.as_str()),
                "advertiser_id": command.map(|c| c.advertiser_id),
            })
        });
        let command = request.into_inner().command.unwrap_or_default();
        let answer = |r: &rpc::SubmitResponse| json!({ "outcome": r.outcome, "repeated": r.repeated });
        written.done(self, move |job: &Job| job.submit(command), answer).await
    }

    async fn flush(&self, _: Request<rpc::FlushRequest>) -> Result<Response<rpc::FlushResponse>, Status> {
        self.blocking(|job| job.flush_books().map(|()| rpc::FlushResponse {})).await
    }

    async fn gather(
        &self,
        request: Request<rpc::GatherRequest>,
    ) -> Result<Response<rpc::GatherResponse>, Status> {
        let request = request.into_inner();
        let others: Vec<Minute> = request.minutes.into_iter().map(Minute).collect();
        self.blocking(move |job| {
            if request.list {
                let complete = job.minutes_of_group()?.into_iter().map(|minute| minute.0).collect();
                return Ok(rpc::GatherResponse { complete, ..rpc::GatherResponse::default() });
            }
            let whole = job.gather(&others)?;
            let directory = whole.path.strip_prefix(job.dir().root()).unwrap_or(&whole.path);
            Ok(rpc::GatherResponse {
                directory: directory.display().to_string(),
                minute: whole.minute.0,
                complete: whole.complete.iter().map(|minute| minute.0).collect(),
            })
        })
        .await
    }

    async fn switches(
        &self,
        _: Request<rpc::SwitchesRequest>,
    ) -> Result<Response<rpc::SwitchesResponse>, Status> {
        self.blocking(|job| Ok(service::list(job.switches()))).await
    }

    async fn set_switch(
        &self,
        request: Request<rpc::SetSwitchRequest>,
    ) -> Result<Response<rpc::Switch>, Status> {
        let written = Asked::new(
            &request,
            "set_switch",
            |r| json!({ "name": r.name, "setting": r.setting, "reason": r.why }),
        );
        let (request, by) = (request.into_inner(), written.caller.name.clone());
        let work = move |job: &Job| service::set(job.switches(), &request, &by);
        written.done(self, work, |s: &rpc::Switch| json!({ "on": s.on })).await
    }

    async fn decide_dead(
        &self,
        request: Request<rpc::DecideDeadRequest>,
    ) -> Result<Response<rpc::DecideDeadResponse>, Status> {
        let written = Asked::new(
            &request,
            "decide_dead",
            |r| json!({ "ids": r.ids, "discard": r.discard, "reason": r.reason }),
        );
        let rpc::DecideDeadRequest { ids, discard, reason } = request.into_inner();
        let wrong = |id: &String| Status::invalid_argument(format!("{id:?} is not the id of a record"));
        let ids: Result<Vec<_>, _> =
            ids.iter().map(|id| MessageId::parse(id).ok_or_else(|| wrong(id))).collect();
        let ids = ids?;
        let work = move |job: &Job| {
            let decided = job.deliveries().decide(&job.scheduler(), &ids, discard, &reason)?;
            Ok(rpc::DecideDeadResponse { ids: decided.iter().map(MessageId::to_string).collect() })
        };
        written.done(self, work, |r: &rpc::DecideDeadResponse| json!({ "decided": r.ids.len() })).await
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

/// What cannot be told while object storage is away is left open.
fn known<T>(told: Result<T, JobError>) -> Result<Option<T>, JobError> {
    match told {
        Ok(told) => Ok(Some(told)),
        Err(error) if error.is_away() => Ok(None),
        Err(error) => Err(error),
    }
}

fn generation(job: &Job, g: &Generation, standing: Standing) -> Result<rpc::Generation, JobError> {
    let promotion = job.promotion();
    let runs = matches!(standing, Standing::Candidate | Standing::Promoting | Standing::Published);
    let own = job.statuses().into_iter().filter(|s| s.task.generation == g.id);
    Ok(rpc::Generation {
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
        minute: if runs { known(promotion.minute_of(g.id))?.unwrap_or_default().0 } else { 0 },
        lag: own.map(|s| s.lag()).sum(),
        caught_up: runs && known(promotion.has_caught_up(g.id))?.unwrap_or_default(),
        promoted_minute: job.registry().promoted_at(g.id).map_or(0, |m| m.0),
    })
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
    let workers = job.peers().unwrap_or_else(|error| {
        tracing::warn!("{error}");
        Vec::new()
    });
    let workers = workers.into_iter().map(|peer| rpc::Worker {
        worker: peer.worker.into(),
        address: peer.address,
        partitions: peer.partitions,
    });
    StatusResponse {
        tasks: tasks.collect(),
        partitions: partitions.collect(),
        ingest: None,
        workers: workers.collect(),
        takeovers: takeovers(job),
    }
}

fn takeovers(job: &Job) -> Vec<rpc::Takeover> {
    let worker = job.dir().worker().unwrap_or_default().into();
    let all = job.takeovers().list().into_iter();
    all.map(|t| rpc::Takeover {
        worker,
        partitions: t.partitions,
        at_ms: t.at_ms,
        behind: t.behind,
        took_ms: t.took.as_millis() as u64,
    })
    .collect()
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
