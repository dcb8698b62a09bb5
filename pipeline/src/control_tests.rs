//! The control service behind a port with tokens: who is let through, what is written down, what a tap shows.

use crate::auth::{Auth, NewToken, Role, add_token};
use crate::config::Port;
use crate::host::Host;
use crate::job::{Job, JobOptions};
use crate::log::LogChoice;
use crate::net::{Limits, Listener};
use crate::operations::{OperatorLog, paired};
use crate::rule_set::RuleSet;
use crate::source::FileSpec;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use weir_operators::Rules;
use weir_proto::rpc::control_client::ControlClient;
use weir_proto::rpc::{DropRequest, StatusRequest, TapRequest};
use weir_state::Retention;

const EVENT: &str = r#"{"guid":"01KAZZZZZZZZZZZZZZZZZZZZZZ","event_time_ms":1767261600000,"kind":"click","user_id":"u00cafe","ip":"10.20.30.40","ua":"Firefox","ad_id":7,"campaign_id":8,"advertiser_id":1,"slot":"side","region":"FR-IDF","channel":"partner","app_version":"8.18.6","bid_micros":250000,"billing":"cpc"}"#;

type Client = ControlClient<InterceptedService<Channel, Show>>;

struct Show(String);

impl Interceptor for Show {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.0).parse().unwrap());
        Ok(request)
    }
}

async fn client(address: SocketAddr, token: &str) -> Client {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    ControlClient::with_interceptor(channel, Show(token.to_owned()))
}

/// A job that has read one click, and its host.
fn job(root: &Path) -> Arc<Host> {
    let path = root.join("front.ndjson");
    std::fs::write(&path, format!("{EVENT}\n")).unwrap();
    let forever = Retention { every_minute_for: u32::MAX, every_hour_for: u32::MAX };
    let options = JobOptions {
        data_dir: root.join("data"),
        partitions: 1,
        threads: 1,
        files: vec![FileSpec(path)],
        finite: false,
        event_time: true,
        accounts: None,
        rules: RuleSet { rules: Rules::default(), networks: Vec::new() },
        log: LogChoice::default(),
        group: None,
        depot: None,
        retention: forever,
        after_outage: true,
        maintenance: false,
        deliver: None,
        ledger: None,
        spool: None,
        switches: Arc::default(),
    };
    Arc::new(Host::new(Job::open(options).unwrap(), None))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn analysts_look_behind_masks_and_what_operators_do_is_written_down() {
    let root = tempfile::tempdir().unwrap();
    let tokens = root.path().join("tokens.toml");
    let [analyst, operator] = [Role::Analyst, Role::Operator].map(|role| {
        let made = NewToken::make(&format!("the-{}", role.name()), role, None).unwrap();
        add_token(&tokens, &made.section).unwrap();
        made.token
    });
    let host = job(root.path());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let auth = Auth::open(&tokens).unwrap();
    let listener = Listener { port: Port::Control, listener, tls: None, auth, limits: Limits::default() };
    let router = crate::server::control(host.clone(), None).await.unwrap();
    tokio::spawn(listener.serve(router, std::future::pending()));
    let running = host.job().unwrap();
    let thread = std::thread::spawn(move || running.run());
    let (mut looks, mut operates) = (client(address, &analyst).await, client(address, &operator).await);
    assert!(!looks.status(StatusRequest {}).await.unwrap().into_inner().tasks.is_empty());

    // It waits until the click is in the topic.
    let wanted =
        TapRequest { topic: "raw".to_owned(), follow: true, limit: Some(1), ..TapRequest::default() };
    let first = async |client: &mut Client, wanted: TapRequest| -> Result<Value, Code> {
        let mut rows = client.tap(wanted).await.map_err(|e| e.code())?.into_inner();
        let row = tokio::time::timeout(Duration::from_secs(120), rows.message()).await.unwrap();
        let row = row.map_err(|e| e.code())?.unwrap();
        assert_eq!(rows.message().await.unwrap(), None, "no more than wanted");
        Ok(serde_json::from_str(&row.json).unwrap())
    };
    let masked = first(&mut looks, wanted.clone()).await.unwrap();
    assert_eq!(masked["guid"], "01KAZZZZZZZZZZZZZZZZZZZZZZ");
    assert!(
        masked["user_id"].as_str().unwrap().starts_with("u:") && !masked.to_string().contains("10.20.30.40")
    );
    let unmasked = TapRequest { unmasked: true, ..wanted.clone() };
    assert_eq!(first(&mut looks, unmasked.clone()).await, Err(Code::PermissionDenied));
    assert_eq!(first(&mut operates, unmasked).await.unwrap()["user_id"], "u00cafe");
    // The masks are what a filter sees.
    let guess = |value: &str| TapRequest {
        until: "end".to_owned(),
        follow: false,
        r#where: format!("user_id == \"{value}\""),
        ..wanted.clone()
    };
    let mut rows = looks.tap(guess("u00cafe")).await.unwrap().into_inner();
    assert_eq!(rows.message().await.unwrap(), None);
    assert!(first(&mut looks, guess(masked["user_id"].as_str().unwrap())).await.is_ok());
    let wrong = TapRequest { r#where: "user_id ==".to_owned(), ..wanted.clone() };
    assert_eq!(first(&mut looks, wrong).await, Err(Code::InvalidArgument));
    let wrong = TapRequest { topic: "rwa".to_owned(), ..wanted };
    assert_eq!(first(&mut looks, wrong).await, Err(Code::InvalidArgument));

    let drop_ninth = DropRequest { generation: 9 };
    assert_eq!(looks.drop(drop_ninth).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(operates.drop(drop_ninth).await.unwrap_err().code(), Code::FailedPrecondition);
    let written = OperatorLog::new(root.path().join("data/operator.log")).read().unwrap();
    assert!(!format!("{written:?}").contains("weir_"), "{written:?}");
    let all = paired(written);
    let told: Vec<_> = all.iter().map(|o| (&*o.begun.who, &*o.begun.action, o.outcome)).collect();
    assert_eq!(told, [("the-operator", "tap_unmasked", "done"), ("the-operator", "drop", "refused")]);
    assert_eq!(all[1].begun.arguments, json!({ "generation": 9 }));
    assert!(all[1].begun.address.as_ref().unwrap().starts_with("127.0.0.1:"));

    // A tap ends with the job.
    let follow = TapRequest { topic: "charges".to_owned(), ..TapRequest::default() };
    let mut rows = looks.tap(follow).await.unwrap().into_inner();
    host.stop();
    let end = async { while let Ok(Some(_)) = rows.message().await {} };
    tokio::time::timeout(Duration::from_secs(120), end).await.unwrap();
    thread.join().unwrap().unwrap();
}
