//! A job that takes events in, to be treated badly: after each attempt it has to take a good event as if nothing had
//! happened, and in the end those are all that it has billed.

use crate::ad::{Ad, accounts_csv};
use crate::http::{Http, Reply};
use crate::longrun::LongRun;
use crate::scratch::{Scratch, now_ms};
use crate::taps::{Dropped, Taps};

/// The job, and the good events that it has taken.
pub struct Target {
    /// The job.
    pub job: LongRun,
    good: Vec<Ad>,
    _scratch: Scratch,
}

impl Target {
    /// Starts one with these keys of `[ingest]`.
    #[track_caller]
    pub fn start(name: &str, keys: &str) -> Self {
        Self::start_with(name, keys, |_, _| {})
    }

    /// The same, configured further before it starts.
    #[track_caller]
    pub fn start_with(name: &str, keys: &str, configure: impl FnOnce(&mut LongRun, &Scratch)) -> Self {
        let scratch = Scratch::new(name);
        let plenty = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
        let mut job = LongRun::new(&scratch, &[], &plenty);
        job.open_ingest(keys);
        configure(&mut job, &scratch);
        job.start();
        job.wait_until_up();
        Self { job, good: Vec::new(), _scratch: scratch }
    }

    /// The ports of HTTP and gRPC.
    pub fn ports(&self) -> (u16, u16) {
        self.job.ingest_ports()
    }

    /// A new connection of HTTP.
    #[track_caller]
    pub fn connect(&self) -> Http {
        Http::connect(self.ports().0).unwrap()
    }

    /// A good event that was not sent yet; it is expected to be taken.
    pub fn next_good(&mut self) -> Ad {
        let ad = Ad::click(self.good.len() as u32, now_ms());
        self.good.push(ad.clone());
        ad
    }

    /// Sends a good event.
    #[track_caller]
    pub fn is_well(&mut self) {
        let mut connection = self.connect();
        self.takes_from(&mut connection);
    }

    /// The same over a connection.
    #[track_caller]
    pub fn takes_from(&mut self, connection: &mut Http) {
        self.job.assert_alive();
        let ad = self.next_good();
        let reply = connection.post("/v1/events", JSON, format!("[{}]", ad.line()).as_bytes()).unwrap();
        assert_eq!((reply.status, &reply.json()["accepted"]), (200, &1.into()), "{}", reply.text());
    }

    /// Sends a request of JSON to `/v1/events`, which has to be refused with a status and a code; with a new
    /// connection, and a good event after it.
    #[track_caller]
    pub fn refuses(&mut self, body: impl AsRef<[u8]>, status: u16, code: &str) -> Reply {
        self.refuses_with(JSON, body, status, code)
    }

    /// The same with other headers.
    #[track_caller]
    pub fn refuses_with(
        &mut self,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
        status: u16,
        code: &str,
    ) -> Reply {
        let body = body.as_ref();
        let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let reply = self.connect().post("/v1/events", headers, body);
        let reply = reply.unwrap_or_else(|e| panic!("{e} for {headers:?} {start}"));
        assert_eq!(reply.status, status, "{} for {headers:?} {start}", reply.text());
        let json = reply.json();
        let is_code = json["error"]["code"] == code || json["events"][0]["code"] == code;
        let message = json["error"]["message"].as_str().or(json["events"][0]["message"].as_str());
        assert!(is_code && message.is_some_and(|m| m.len() > 10), "{} for {start}", reply.text());
        self.is_well();
        reply
    }

    /// Stops the job: all good events are charged, and nothing else is; what was dropped besides.
    #[track_caller]
    pub fn end(mut self) -> Vec<Dropped> {
        self.job.assert_alive();
        let lines: Vec<String> = self.good.iter().map(Ad::line).collect();
        self.job.wait_for_lines(lines.len());
        crate::ask::wait_for("all to be charged", || {
            crate::taps::count("charges", self.job.data_dir()) == Some(lines.len())
        });
        let done = self.job.stop("TERM");
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        let Taps { charges, dropped } = Taps::read(self.job.data_dir());
        let mut charged: Vec<&str> = charges.iter().map(|c| c.guid.as_str()).collect();
        let mut good: Vec<&str> = self.good.iter().map(|ad| ad.guid.as_str()).collect();
        charged.sort_unstable();
        good.sort_unstable();
        assert_eq!(charged, good);
        assert!(charges.iter().all(crate::taps::Charge::is_charged));
        dropped
    }

    /// A guid is expected among those that are charged.
    pub fn expect(&mut self, guid: &str) {
        self.good.push(Ad { guid: guid.to_owned(), ..Ad::click(0, 0) });
    }
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
