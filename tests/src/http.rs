//! HTTP as it goes over the wire: a connection in the hands of a test, which may send what it likes.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long nothing may come or go.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
pub struct Http(BufReader<TcpStream>);

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// Connects to a port of 127.0.0.1.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Http(BufReader::new(stream)))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// Sends nothing more, and still reads.
    pub fn finish(&self) {
        // The other side may have closed it before.
        let _ = self.0.get_ref().shutdown(std::net::Shutdown::Write);
    }

    /// Sends a request with a body and waits for the answer, which may come before all of it is sent.
    pub fn post(&mut self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
        let mut head = format!("POST {target} HTTP/1.1\r\nhost: weir.test\r\n");
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        head += &format!("content-length: {}\r\n\r\n", body.len());
        let sent = self.send([head.as_bytes(), body].concat());
        self.reply().map_err(|error| sent.err().unwrap_or(error))
    }

    /// Sends a request without a body and waits for the answer.
    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.send(format!("GET {target} HTTP/1.1\r\nhost: weir.test\r\n{headers}\r\n"))?;
        self.reply()
    }

    /// The next answer.
    pub fn reply(&mut self) -> io::Result<Reply> {
        loop {
            let reply = self.next()?;
            if reply.status >= 200 {
                return Ok(reply);
            }
        }
    }

    fn next(&mut self) -> io::Result<Reply> {
        let status = self.line()?;
        let code = status.strip_prefix("HTTP/1.").and_then(|s| s.get(2..5)?.parse().ok());
        let status = code.ok_or_else(|| wrong(&status))?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| wrong(&line))?;
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        if reply.header("transfer-encoding") == Some("chunked") {
            while self.chunk(&mut reply.body)? {}
        } else if let Some(length) = reply.header("content-length") {
            reply.body = vec![0; length.parse().map_err(|_| wrong(length))?];
            self.0.read_exact(&mut reply.body)?;
        }
        Ok(reply)
    }

    fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let length = self.line()?;
        let length = usize::from_str_radix(&length, 16).map_err(|_| wrong(&length))?;
        let start = body.len();
        body.resize(start + length, 0);
        self.0.read_exact(&mut body[start..])?;
        self.line()?;
        Ok(length > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(line).map(|line| line.trim_end().to_owned()).map_err(|_| wrong("not UTF-8"))
    }

    /// Whether the other side has closed it, and nothing came before.
    pub fn is_closed(&self) -> bool {
        let stream = self.0.get_ref();
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        !peeked.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
    }

    /// What comes until the other side closes it, however it does.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let end = self.0.read_to_end(&mut rest);
        let still_open = end.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!still_open, "it is not closed after {PATIENCE:?}");
        String::from_utf8_lossy(&rest).into_owned()
    }
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?} {}", self.text()))
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("no HTTP: {what:?}"))
}
