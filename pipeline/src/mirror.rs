//! The mirror: copies of accepted requests, posted to another endpoint, such as a Weir that is being tried out.
//!
//! Best effort: copies wait in a small queue in memory, and one thread posts them. What does not fit, or comes while the
//! switch `mirror` is off or its breaker open, is dropped and counted. Nobody waits for it.

use crate::config;
use crate::deliver::{Answer, agent, classify};
use crate::error::JobError;
use crate::metrics;
use crate::switches::Switch;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// The most that waits, in bytes.
const QUEUE: usize = 16 << 20;
/// What a copy takes beside its body, about: many small ones must be bounded, too.
const OVERHEAD: usize = 512;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An endpoint that takes longer is not worth waiting for.
const SLOW: Duration = Duration::from_secs(1);

struct Copied {
    content_type: String,
    body: Bytes,
}

impl Copied {
    fn size(&self) -> usize {
        self.body.len() + OVERHEAD
    }
}

struct Shared {
    switch: Arc<Switch>,
    waiting: AtomicUsize,
    is_stopping: AtomicBool,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Shared {
    fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        metrics::mirrored("sent");
    }

    fn dropped(&self, why: &'static str) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        metrics::mirrored(why);
    }
}

/// The mirror. What still waits when it is dropped is not sent any more.
pub struct Mirror {
    shared: Arc<Shared>,
    queue: Sender<Copied>,
    /// Of 100 requests.
    share: u64,
    offered: AtomicU64,
}

impl Mirror {
    /// Starts its thread.
    pub fn start(options: &config::Mirror, switch: Arc<Switch>) -> Result<Self, JobError> {
        let (queue, waiting) = channel();
        let shared = Arc::new(Shared {
            switch,
            waiting: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let (own, url, agent) = (shared.clone(), options.url.clone(), agent(TIMEOUT));
        // Nobody waits for it: a request may hang.
        std::thread::Builder::new()
            .name("mirror".to_owned())
            .spawn(move || work(&own, &waiting, &agent, &url))
            .map_err(|e| JobError::Setup(format!("cannot start a thread: {e}")))?;
        Ok(Mirror { shared, queue, share: options.share.into(), offered: AtomicU64::new(0) })
    }

    /// A request was accepted: its share of them is copied. Does not wait.
    pub fn offer(&self, content_type: &str, body: &Bytes) {
        let number = self.offered.fetch_add(1, Ordering::Relaxed);
        if !is_chosen(number, self.share) {
            return;
        }
        if !self.shared.switch.lets() {
            return self.shared.dropped("off");
        }
        let copied = Copied { content_type: content_type.to_owned(), body: body.clone() };
        let size = copied.size();
        let before = self.shared.waiting.fetch_add(size, Ordering::AcqRel);
        if before.saturating_add(size) > QUEUE || self.queue.send(copied).is_err() {
            self.shared.waiting.fetch_sub(size, Ordering::AcqRel);
            self.shared.dropped("full");
        }
    }

    /// Since the start of the process: copies that the endpoint has taken, and copies that were dropped.
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.sent.load(Ordering::Relaxed), self.shared.dropped.load(Ordering::Relaxed))
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
    }
}

/// Of any 100 requests in a row as many as asked for, spread evenly.
fn is_chosen(number: u64, share: u64) -> bool {
    let (n, chosen) = (number % 100, |before: u64| before * share / 100);
    chosen(n) != chosen(n + 1)
}

fn work(shared: &Shared, waiting: &Receiver<Copied>, agent: &ureq::Agent, url: &str) {
    while let Ok(copied) = waiting.recv() {
        if shared.is_stopping.load(Ordering::Acquire) {
            return;
        }
        match shared.switch.admit() {
            true => post(shared, &copied, agent, url),
            false => shared.dropped("off"),
        }
        // Only now: the body is in memory until then.
        shared.waiting.fetch_sub(copied.size(), Ordering::AcqRel);
    }
}

fn post(shared: &Shared, copied: &Copied, agent: &ureq::Agent, url: &str) {
    let begun = Instant::now();
    let request = agent.post(url).header("Content-Type", &copied.content_type);
    let failed = match request.send(&copied.body[..]) {
        Ok(answer) if answer.status().is_success() => None,
        Ok(answer) => match classify(answer.status().as_u16(), format!("it answers {}", answer.status())) {
            Answer::Failed(reason) => Some(reason),
            // It works, and does not like the copy.
            Answer::Accepted | Answer::Refused(_) => None,
        },
        Err(error) => Some(error.to_string()),
    };
    let took = begun.elapsed();
    match failed {
        Some(reason) => {
            shared.dropped("failed");
            shared.switch.failed(&reason);
        }
        None if took >= SLOW => {
            shared.sent();
            shared.switch.failed(&format!("it has taken {} ms to answer", took.as_millis()));
        }
        None => {
            shared.sent();
            shared.switch.worked();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switches::{Name, Setting, Switches};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;

    /// An endpoint that answers with a status, and keeps what it was sent.
    struct Endpoint {
        url: String,
        status: Arc<Mutex<&'static str>>,
        got: Arc<Mutex<Vec<(String, String)>>>,
    }

    impl Endpoint {
        fn start(status: &'static str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/v1/events", listener.local_addr().unwrap());
            let (status, got) = (Arc::new(Mutex::new(status)), Arc::<Mutex<Vec<_>>>::default());
            let (says, keeps) = (status.clone(), got.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut reader = BufReader::new(stream.unwrap());
                    let (mut length, mut kind, mut line) = (0, String::new(), String::new());
                    while reader.read_line(&mut line).unwrap() > 2 {
                        if let Some((name, value)) = line.trim().split_once(": ") {
                            match name.to_lowercase().as_str() {
                                "content-length" => length = value.parse().unwrap(),
                                "content-type" => kind = value.to_owned(),
                                _ => {}
                            }
                        }
                        line.clear();
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    keeps.lock().unwrap().push((kind, String::from_utf8(body).unwrap()));
                    let says = *says.lock().unwrap();
                    let answer =
                        format!("HTTP/1.1 {says} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    reader.into_inner().write_all(answer.as_bytes()).unwrap();
                }
            });
            Endpoint { url, status, got }
        }

        fn mirror(&self, share: u32, switches: &Switches) -> Mirror {
            let options = config::Mirror { url: self.url.clone(), share };
            Mirror::start(&options, switches.get(Name::Mirror).clone()).unwrap()
        }
    }

    fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < until, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_share_is_spread_evenly() {
        for share in 0..=100 {
            let chosen: Vec<u64> = (1000..1100).filter(|n| is_chosen(*n, share)).collect();
            assert_eq!(chosen.len() as u64, share);
            let gaps = chosen.windows(2).map(|two| two[1] - two[0]);
            assert!(gaps.into_iter().all(|gap| gap <= 100 / share + 1), "{share}: {chosen:?}");
        }
    }

    #[test]
    fn copies_arrive_as_they_were_accepted() {
        // 422: it works, and does not like what it was sent.
        for status in ["200", "207", "422"] {
            let (endpoint, switches) = (Endpoint::start(status), Switches::default());
            let mirror = endpoint.mirror(50, &switches);
            for n in 0..10 {
                mirror.offer("application/x-ndjson", &Bytes::from(format!("line {n}")));
            }
            wait_for("the copies", || mirror.counts() == (5, 0));
            let sent = |n| ("application/x-ndjson".to_owned(), format!("line {n}"));
            assert_eq!(*endpoint.got.lock().unwrap(), [1, 3, 5, 7, 9].map(sent));
            assert_eq!(mirror.shared.waiting.load(Ordering::Acquire), 0);
        }
    }

    #[test]
    fn a_failing_endpoint_is_left_alone_until_a_trial_works() {
        let (endpoint, switches) = (Endpoint::start("503"), Switches::default());
        let (mirror, switch) = (endpoint.mirror(100, &switches), switches.get(Name::Mirror));
        let body = Bytes::from_static(b"{}");
        for _ in 0..50 {
            mirror.offer("application/json", &body);
        }
        wait_for("the copies to be gone", || mirror.counts() == (0, 50));
        assert!(!switch.is_on());
        let tried = endpoint.got.lock().unwrap().len();
        assert!((5..50).contains(&tried), "{tried} tries");
        *endpoint.status.lock().unwrap() = "200";
        wait_for("a trial", || {
            mirror.offer("application/json", &body);
            switch.is_on()
        });
        assert_eq!(switch.trips(), 1);
        let before = mirror.counts().0;
        mirror.offer("application/json", &body);
        wait_for("a copy", || mirror.counts().0 > before);
    }

    #[test]
    fn what_does_not_fit_is_dropped_at_once() {
        // It takes connections, and does not answer.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let switches = Switches::default();
        let options = config::Mirror { url, share: 100 };
        let mirror = Mirror::start(&options, switches.get(Name::Mirror).clone()).unwrap();
        let (body, begun) = (Bytes::from(vec![b' '; 1 << 20]), Instant::now());
        for _ in 0..100 {
            mirror.offer("application/json", &body);
            assert!(mirror.shared.waiting.load(Ordering::Acquire) <= QUEUE);
        }
        assert_eq!(mirror.counts(), (0, 100 - 15));
        assert!(begun.elapsed() < TIMEOUT, "nobody waits");
    }

    #[test]
    fn nothing_is_sent_while_it_is_off() {
        let folder = tempfile::tempdir().unwrap();
        let dir = crate::data_dir::DataDir::lock(folder.path(), 1).unwrap().0;
        let (endpoint, switches) = (Endpoint::start("200"), Switches::default());
        let registry = Arc::new(crate::generations::Registry::open(&dir).unwrap());
        let _attached = switches.attach(registry);
        let mirror = endpoint.mirror(100, &switches);
        switches.get(Name::Mirror).set(Setting::Off, "me", "").unwrap();
        mirror.offer("application/json", &Bytes::from_static(b"one"));
        switches.get(Name::Mirror).set(Setting::On, "me", "").unwrap();
        mirror.offer("application/json", &Bytes::from_static(b"two"));
        wait_for("the copy", || mirror.counts() == (1, 1));
        assert_eq!(endpoint.got.lock().unwrap()[0].1, "two");
    }
}
