//! What is known about markets besides their bars: mood, funding, headlines.

use std::collections::BTreeMap;

use crate::freqtrade::Funding;
use crate::headlines::Headlines;
use crate::sentiment::FearGreed;
use crate::{Instrument, Timestamp};

/// What is known besides bars.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Surroundings {
    /// The Fear & Greed index.
    pub fear_greed: Option<FearGreed>,
    /// Funding rates by instrument.
    pub funding: BTreeMap<Instrument, Funding>,
    /// Headlines.
    pub headlines: Option<Headlines>,
}

/// How long after its stamp each kind of fact is known, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lags {
    /// Of the Fear & Greed index.
    pub fear_greed: i64,
    /// Of a headline.
    pub headlines: i64,
}

impl Surroundings {
    /// Reports whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.fear_greed.is_none() && self.funding.is_empty() && self.headlines.is_none()
    }

    /// Returns the last funding rate of an instrument paid at or before a decision, and when.
    pub fn funding(&self, instrument: &Instrument, decision_time: i64) -> Option<(Timestamp, f64)> {
        self.funding.get(instrument)?.as_of(decision_time)
    }

    /// Returns what was known at `time`.
    #[must_use]
    pub fn known_by(&self, time: i64, lags: Lags) -> Self {
        let cut = |funding: &Funding| {
            let kept = funding.funding_time.partition_point(|at| *at <= time);
            Funding {
                instrument: funding.instrument.clone(),
                funding_time: funding.funding_time[..kept].to_vec(),
                rate: funding.rate[..kept].to_vec(),
            }
        };
        Self {
            fear_greed: self
                .fear_greed
                .as_ref()
                .map(|f| f.known_by(time, lags.fear_greed)),
            funding: self
                .funding
                .iter()
                .map(|(instrument, funding)| (instrument.clone(), cut(funding)))
                .collect(),
            headlines: self
                .headlines
                .as_ref()
                .map(|h| h.known_by(time, lags.headlines)),
        }
    }

    /// Returns surroundings whose future, seen from `time`, is another one: what an audit puts in
    /// its place.
    #[must_use]
    pub fn mirrored_after(&self, time: i64, lags: Lags) -> Self {
        let mirrored = |funding: &Funding| {
            let mut funding = funding.clone();
            for (at, rate) in funding.funding_time.iter().zip(&mut funding.rate) {
                if *at > time {
                    *rate = 0.01 - *rate;
                }
            }
            funding
        };
        Self {
            fear_greed: self
                .fear_greed
                .as_ref()
                .map(|f| f.mirrored_after(time, lags.fear_greed)),
            funding: self
                .funding
                .iter()
                .map(|(instrument, funding)| (instrument.clone(), mirrored(funding)))
                .collect(),
            headlines: self
                .headlines
                .as_ref()
                .map(|h| h.altered_after(time, lags.headlines)),
        }
    }
}
