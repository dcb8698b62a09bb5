//! The mirror against endpoints that work, fail, hang, and recover.

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
                let answer = format!("HTTP/1.1 {says} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
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
    let dir = crate::data_dir::DataDir::lock(folder.path(), 1, None, None).unwrap().0;
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
