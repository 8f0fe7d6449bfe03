//! Requests off the wire and responses onto it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// The largest body of a request, in bytes.
const LARGEST_BODY: usize = 64 * 1024;
/// Headers of a request at most.
const HEADERS: usize = 64;

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path, percent-decoded, without the query.
    pub path: String,
    /// Names and values of the query, percent-decoded.
    pub query: Vec<(String, String)>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `Host` header.
    pub host: Option<String>,
    /// The `Last-Event-ID` header.
    pub last_event_id: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the client wants to go on with the connection.
    pub(super) keep_alive: bool,
}

impl Request {
    /// Returns a value of the query.
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What is sent after the head.
pub enum Body {
    /// A whole.
    Bytes(Vec<u8>),
    /// Server-sent events: called again and again, may wait, returns what is to be sent.
    Stream(Box<dyn FnMut() -> Vec<u8> + Send>),
}

/// An answer.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers besides length and connection.
    pub headers: Vec<(&'static str, String)>,
    /// What follows.
    pub body: Body,
}

impl Response {
    /// Returns a whole answer.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", content_type.to_owned())],
            body: Body::Bytes(body.into()),
        }
    }

    /// Returns JSON.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", format!("{value}\n"))
    }

    /// Returns an error as JSON, `{"error": "..."}`.
    pub fn error(status: u16, message: &str) -> Self {
        Self::json(status, &serde_json::json!({"error": message}))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Why there is no request.
pub(super) enum Fault {
    /// The client went away, or took too long between two requests.
    Closed,
    /// It is none; the answer says why.
    Bad(Response),
}

/// A connection's requests.
pub(super) struct Reading<'a> {
    stream: &'a TcpStream,
    patience: Duration,
    /// Bytes read and not yet used.
    buffer: Vec<u8>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(stream: &'a TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            buffer: Vec::new(),
        }
    }

    /// Reads a request.
    pub(super) fn next(&mut self) -> Result<Request, Fault> {
        let bad = |status, text: &str| Fault::Bad(Response::error(status, text));
        let deadline = Instant::now() + self.patience;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut parsed = httparse::Request::new(&mut headers);
            match parsed.parse(&self.buffer) {
                // It may have come in one piece.
                Ok(httparse::Status::Complete(head)) if head > LONGEST_HEAD => {
                    return Err(bad(431, "the head of the request is too long"));
                }
                Ok(httparse::Status::Complete(head)) => {
                    let (mut request, length) = head_of(&parsed)?;
                    self.buffer.drain(..head);
                    while self.buffer.len() < length {
                        if !self.more(deadline) {
                            return Err(Fault::Closed);
                        }
                    }
                    request.body = self.buffer.drain(..length).collect();
                    return Ok(request);
                }
                Ok(httparse::Status::Partial) => {}
                Err(error) => return Err(bad(400, &format!("no HTTP request: {error}"))),
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(bad(431, "the head of the request is too long"));
            }
            if !self.more(deadline) {
                return Err(Fault::Closed);
            }
        }
    }

    /// Reads some bytes; reports false when the client has gone or the time is up.
    fn more(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timed = self.stream.set_read_timeout(Some(left));
        let mut bytes = [0; 4096];
        let mut stream = self.stream;
        match timed.and_then(|()| stream.read(&mut bytes)) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(_) => false,
        }
    }
}

/// Returns the request without its body, and the body's length.
fn head_of(parsed: &httparse::Request<'_, '_>) -> Result<(Request, usize), Fault> {
    let bad = |status, text: &str| Fault::Bad(Response::error(status, text));
    let target = parsed.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decode(path, false).ok_or_else(|| bad(400, "the path is no UTF-8"))?;
    let mut request = Request {
        method: parsed.method.unwrap_or("").to_owned(),
        path,
        keep_alive: parsed.version == Some(1),
        ..Request::default()
    };
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) {
            request.query.push((name, value));
        }
    }
    let mut length = 0;
    for header in parsed.headers.iter() {
        let value = String::from_utf8_lossy(header.value).trim().to_owned();
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = value
                    .parse()
                    .map_err(|_| bad(400, "Content-Length is no number"))?;
            }
            "transfer-encoding" => return Err(bad(411, "send a Content-Length")),
            "connection" => {
                let value = value.to_ascii_lowercase();
                request.keep_alive = match value.as_str() {
                    "close" => false,
                    "keep-alive" => true,
                    _ => request.keep_alive,
                };
            }
            "authorization" => request.authorization = Some(value),
            "host" => request.host = Some(value),
            "last-event-id" => request.last_event_id = Some(value),
            "expect" => return Err(bad(417, "send the body at once")),
            _ => {}
        }
    }
    if length > LARGEST_BODY {
        let text = format!("the body has {length} bytes, at most {LARGEST_BODY} are read");
        return Err(bad(413, &text));
    }
    Ok((request, length))
}

/// Undoes percent-encoding; in a query `+` is a blank.
fn decode(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [a, b, tail @ ..]) => {
                let digits = [*a, *b];
                let digits = std::str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = tail;
            }
            (b'+', _) if query => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Writes a whole answer.
pub(super) fn write(
    stream: &mut impl Write,
    response: Response,
    keep: bool,
    head_only: bool,
) -> io::Result<()> {
    let Body::Bytes(body) = response.body else {
        return Ok(());
    };
    let mut out = head(response.status, &response.headers);
    out += &format!("Content-Length: {}\r\n", body.len());
    out += if keep {
        "Connection: keep-alive\r\n\r\n"
    } else {
        "Connection: close\r\n\r\n"
    };
    let mut bytes = out.into_bytes();
    if !head_only {
        bytes.extend(body);
    }
    stream.write_all(&bytes)?;
    stream.flush()
}

/// Writes the head of an event stream.
pub(super) fn write_stream_head(
    stream: &mut impl Write,
    headers: &[(&'static str, String)],
) -> io::Result<()> {
    let out = head(200, headers) + "Connection: close\r\n\r\n";
    stream.write_all(out.as_bytes())?;
    stream.flush()
}

fn head(status: u16, headers: &[(&'static str, String)]) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Error",
    };
    let mut out = format!(
        "HTTP/1.1 {status} {reason}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
    );
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    out
}
