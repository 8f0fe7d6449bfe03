//! Requests per client and second: a token bucket for each address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

/// Addresses remembered; beyond that, full buckets are forgotten first.
const ADDRESSES: usize = 4096;

/// The buckets of all clients.
#[derive(Debug)]
pub(super) struct Limiter {
    per_second: f64,
    buckets: BTreeMap<IpAddr, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second: f64::from(per_second.max(1)),
            buckets: BTreeMap::new(),
        }
    }

    /// Takes a token of a client's; reports whether there was one.
    pub(super) fn allows(&mut self, client: IpAddr) -> bool {
        let now = Instant::now();
        let (rate, most) = (self.per_second, 2.0 * self.per_second);
        if self.buckets.len() >= ADDRESSES && !self.buckets.contains_key(&client) {
            self.buckets.retain(|_, bucket| {
                bucket.tokens + now.duration_since(bucket.filled).as_secs_f64() * rate < most
            });
            if self.buckets.len() >= ADDRESSES {
                return false;
            }
        }
        let bucket = self.buckets.entry(client).or_insert(Bucket {
            tokens: most,
            filled: now,
        });
        let since = now.duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * rate).min(most);
        bucket.filled = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }
}
