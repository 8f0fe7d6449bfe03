//! Step-size schedule: linear warm-up, then half a cosine down to zero.

/// Returns the factor on the peak step size at `step` (counted from 0) of `total`.
///
/// The warm-up takes `ceil(total * warmup_ratio)` steps and ends at 1, as in transformers'
/// `get_cosine_schedule_with_warmup`, except that its first step is not wasted at zero.
pub fn cosine_with_warmup(step: usize, total: usize, warmup_ratio: f64) -> f64 {
    let warmup = (total as f64 * warmup_ratio).ceil() as usize;
    if step < warmup {
        return (step + 1) as f64 / (warmup + 1) as f64;
    }
    let rest = total.saturating_sub(warmup).max(1);
    let progress = (step - warmup) as f64 / rest as f64;
    0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::cosine_with_warmup;

    #[test]
    fn rises_then_falls() {
        let factors: Vec<f64> = (0..100).map(|s| cosine_with_warmup(s, 100, 0.03)).collect();
        assert!((factors[0] - 0.25).abs() < 1e-12 && (factors[3] - 1.0).abs() < 1e-12);
        assert!(factors.windows(2).skip(3).all(|pair| pair[1] < pair[0]));
        assert!(factors[99] > 0.0 && factors[99] < 0.001);
    }
}
