//! A small HTTP/1.1 server: a thread a connection, bounded in every way.
//!
//! The requests are few and the answers small, so threads do; an event loop would bring a runtime
//! of a hundred crates. Requests are parsed by `httparse`. Bounded are: connections, the bytes of
//! head and body, the time a request may take to arrive, and requests per client and second.
//! Beyond loopback a bearer token is required; on loopback the `Host` header must name it, so that
//! no web page can reach the service through a name of its own.

mod limit;
mod wire;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use limit::Limiter;
pub use wire::{Body, Request, Response};
use wire::{Fault, Reading};

use crate::error::ServeError;

/// Connections served at a time.
const CONNECTIONS: usize = 128;
/// How long a request may take to arrive, and a connection may idle.
const PATIENCE: Duration = Duration::from_secs(15);

/// How the server listens.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What clients must send as `Authorization: Bearer TOKEN`; required beyond loopback.
    pub token: Option<String>,
    /// Requests of one client a second; bursts of twice as many.
    pub requests_per_second: u32,
}

/// Answers requests; called from many threads.
pub trait Handler: Send + Sync {
    /// Answers a request.
    fn answer(&self, request: &Request) -> Response;

    /// Is told what was answered.
    fn answered(&self, status: u16);

    /// Reports whether the server is about to end.
    fn is_stopping(&self) -> bool;
}

/// A server at work; ends when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    open: Arc<AtomicUsize>,
}

/// What connections share.
struct Shared {
    handler: Arc<dyn Handler>,
    options: Options,
    limiter: Mutex<Limiter>,
    stop: Arc<AtomicBool>,
    open: Arc<AtomicUsize>,
}

/// An address that is taken, with nobody to answer yet; connections wait.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
}

impl Bound {
    /// Takes the address.
    ///
    /// # Errors
    /// [`ServeError::Listen`] when another has it, it lies beyond loopback without a token, or the
    /// token is too short.
    pub fn new(options: Options) -> Result<Self, ServeError> {
        let fail = |reason: String| ServeError::Listen {
            address: options.listen,
            reason,
        };
        if !options.listen.ip().is_loopback() && options.token.is_none() {
            return Err(fail(
                "beyond loopback a bearer token is required".to_owned(),
            ));
        }
        if options
            .token
            .as_deref()
            .is_some_and(|token| token.len() < 16)
        {
            return Err(fail("the token has fewer than 16 characters".to_owned()));
        }
        let listener =
            TcpListener::bind(options.listen).map_err(|error| fail(error.to_string()))?;
        let address = listener
            .local_addr()
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self {
            listener,
            address,
            options,
        })
    }

    /// Begins to answer.
    pub fn serve(self, handler: Arc<dyn Handler>) -> Server {
        let Self {
            listener,
            address,
            options,
        } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let open = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            limiter: Mutex::new(Limiter::new(options.requests_per_second)),
            handler,
            options,
            stop: Arc::clone(&stop),
            open: Arc::clone(&open),
        });
        let acceptor = std::thread::spawn(move || accept(&listener, &shared));
        Server {
            address,
            stop,
            acceptor: Some(acceptor),
            open,
        }
    }
}

impl Server {
    /// Takes the address and begins to answer.
    ///
    /// # Errors
    /// As [`Bound::new`].
    pub fn start(options: Options, handler: Arc<dyn Handler>) -> Result<Self, ServeError> {
        Ok(Bound::new(options)?.serve(handler))
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and waits for those that are being served, a few seconds at most.
    pub fn stop(&mut self) {
        if self.stop.swap(true, Ordering::SeqCst) {
            return;
        }
        // The acceptor waits for a connection: here is one.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for _ in 0..100 {
            if self.open.load(Ordering::SeqCst) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else {
            // Out of file descriptors, say: wait for some to be given back.
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        if shared.open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
            shared.open.fetch_sub(1, Ordering::SeqCst);
            let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
            let busy = Response::error(503, "too many connections").header("Retry-After", "1");
            let _ = wire::write(&mut stream, busy, false, false);
            continue;
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let _ = serve(&stream, &shared);
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Serves a connection to its end.
fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let peer = stream.peer_addr()?.ip();
    let mut reading = Reading::new(stream, PATIENCE);
    let mut stream = stream;
    loop {
        if shared.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        let request = match reading.next() {
            Ok(request) => request,
            Err(Fault::Closed) => return Ok(()),
            Err(Fault::Bad(response)) => {
                shared.handler.answered(response.status);
                return wire::write(&mut stream, response, false, false);
            }
        };
        let response = match shared.refusal(peer, &request) {
            Some(refusal) => refusal,
            None => shared.handler.answer(&request),
        };
        shared.handler.answered(response.status);
        let keep = request.keep_alive && !shared.stop.load(Ordering::SeqCst);
        let head_only = request.method == "HEAD";
        match response.body {
            Body::Stream(mut pump) => {
                wire::write_stream_head(&mut stream, &response.headers)?;
                while !shared.handler.is_stopping() && !shared.stop.load(Ordering::SeqCst) {
                    let bytes = pump();
                    stream.write_all(&bytes)?;
                    stream.flush()?;
                }
                return Ok(());
            }
            Body::Bytes(_) => wire::write(&mut stream, response, keep, head_only)?,
        }
        if !keep {
            return Ok(());
        }
    }
}

impl Shared {
    /// Returns the answer to a request that is not let in.
    fn refusal(&self, peer: IpAddr, request: &Request) -> Option<Response> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if !limiter.allows(peer) {
            let text = "too many requests";
            return Some(Response::error(429, text).header("Retry-After", "1"));
        }
        drop(limiter);
        let Some(token) = &self.options.token else {
            let local = request.host.as_deref().is_none_or(names_loopback);
            return (!local)
                .then(|| Response::error(403, "the Host header does not name loopback"));
        };
        // Whoever balances load asks for health without secrets.
        if request.path == "/healthz" {
            return None;
        }
        let given = bearer(request.authorization.as_deref().unwrap_or(""));
        (!equal_in_constant_time(given.as_bytes(), token.as_bytes())).then(|| {
            Response::error(401, "a bearer token is required").header("WWW-Authenticate", "Bearer")
        })
    }
}

/// Returns the token of an `Authorization` header; the scheme's name is of either case (RFC 9110,
/// section 11.1).
fn bearer(header: &str) -> &str {
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    }
}

/// Reports whether a `Host` header names this machine's loopback.
fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Compares without telling by its time where two texts differ.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b));
    a.len() == b.len() && differing == 0
}

#[cfg(test)]
mod tests;
