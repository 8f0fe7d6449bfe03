//! Tests over real sockets: what is answered, and everything that is refused.

use super::*;
use std::io::Read;

struct Echo;

impl Handler for Echo {
    fn answer(&self, request: &Request) -> Response {
        let value = request.value("x").unwrap_or("");
        let body = format!(
            "{} {} x={value} {}",
            request.method,
            request.path,
            request.body.len()
        );
        Response::new(200, "text/plain", body)
    }

    fn answered(&self, _: u16) {}

    fn is_stopping(&self) -> bool {
        false
    }
}

fn server(token: Option<&str>, requests_per_second: u32) -> Server {
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: token.map(str::to_owned),
        requests_per_second,
    };
    Server::start(options, Arc::new(Echo)).unwrap()
}

/// Sends bytes and returns all that comes back.
fn talk(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // The server may answer and close before all is sent.
    let _ = stream.write_all(bytes);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn get(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
        .into_bytes()
}

#[test]
fn requests_are_answered_one_after_another() {
    let server = server(None, 1000);
    let two = b"GET /a%2Fb%20c?x=1+2%33 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n\
                POST /p HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    let text = talk(&server, two);
    assert!(text.contains("GET /a/b c x=1 23 0"), "{text}");
    assert!(text.ends_with("POST /p x= 3"), "{text}");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2);
    let head = talk(&server, b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(
        head.ends_with("\r\n\r\n") && head.contains("Content-Length: 11"),
        "{head}"
    );
}

#[test]
fn what_is_no_request_is_refused_with_a_reason() {
    let server = server(None, 1000);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(20_000));
    let cases: [(&[u8], &str, &str); 7] = [
        (b"nonsense\r\n\r\n", " 400 ", "no HTTP request"),
        (
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            " 400 ",
            "no number",
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
            " 413 ",
            "99999999 bytes",
        ),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            " 411 ",
            "Content-Length",
        ),
        (b"GET /%ff HTTP/1.1\r\n\r\n", " 400 ", "UTF-8"),
        (long.as_bytes(), " 431 ", "too long"),
        (
            b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            " 403 ",
            "loopback",
        ),
    ];
    for (bytes, status, expect) in cases {
        let text = talk(&server, bytes);
        assert!(text.contains(status) && text.contains(expect), "{text}");
    }
}

#[test]
fn a_token_is_asked_for_where_there_is_one() {
    let token = "0123456789abcdef";
    let server = server(Some(token), 1000);
    for (more, status) in [
        (String::new(), " 401 "),
        ("Authorization: Bearer wrong\r\n".to_owned(), " 401 "),
        (
            "Authorization: Bearer 0123456789abcdeg\r\n".to_owned(),
            " 401 ",
        ),
        (format!("Authorization: Basic {token}\r\n"), " 401 "),
        (format!("Authorization: Bearer {token}\r\n"), " 200 "),
        (format!("authorization: bearer {token}\r\n"), " 200 "),
    ] {
        let text = talk(&server, &get("/", &more));
        assert!(text.contains(status), "{more}: {text}");
    }
    assert!(talk(&server, &get("/healthz", "")).contains(" 200 "));
}

#[test]
fn beyond_loopback_there_must_be_a_token() {
    let start = |listen: &str, token: Option<&str>| {
        let options = Options {
            listen: listen.parse().unwrap(),
            token: token.map(str::to_owned),
            requests_per_second: 10,
        };
        Server::start(options, Arc::new(Echo)).map(|_| ())
    };
    let error = start("0.0.0.0:0", None).unwrap_err().to_string();
    assert!(error.contains("bearer token is required"), "{error}");
    let error = start("127.0.0.1:0", Some("short")).unwrap_err().to_string();
    assert!(error.contains("fewer than 16"), "{error}");
    start("127.0.0.1:0", None).unwrap();
    let taken = server(None, 10);
    assert!(start(&taken.address().to_string(), None).is_err());
}

#[test]
fn a_client_that_asks_too_often_is_told_to_wait() {
    let server = server(None, 1);
    let statuses: Vec<bool> = (0..4)
        .map(|_| talk(&server, &get("/", "")).contains(" 429 "))
        .collect();
    assert_eq!(statuses[..2], [false, false]);
    assert!(statuses[3], "{statuses:?}");
}

#[test]
fn stopping_ends_connections_that_idle() {
    let mut server = server(None, 10);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut some = [0; 16];
    stream.read_exact(&mut some).unwrap();
    let address = server.address();
    drop(stream);
    server.stop();
    assert!(TcpStream::connect(address).is_err());
}
