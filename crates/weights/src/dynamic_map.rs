//! The 256 values of 8-bit dynamic codes (Dettmers 2015, "8-Bit Approximations for Parallelism in
//! Deep Learning"), as bitsandbytes lays them out: `create_dynamic_map` with 8 bits in all and 7
//! exponent bits.
//!
//! It serves two quantisations: the scales of 4-bit blocks, and AdamW's moments. Values are exact to
//! the bit, or codes written by others would mean something else here.

/// Powers of ten the codes reach down from 1, one per exponent bit.
const EXPONENTS: [f32; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];

/// Returns the values of the codes 0 to 255 in ascending order: in `[-0.993, 1]` if `signed`, with 0
/// at code 127, else in `[0, 1]`, with 0 at code 0.
///
/// Every power of ten holds the middles of equal parts of `[0.1, 1]` times it; the parts double in
/// number from one power to the next, and a map without signs has twice as many of them.
pub fn dynamic_map(signed: bool) -> [f32; 256] {
    let mut values = vec![0.0, 1.0];
    for (bits, power) in EXPONENTS.iter().enumerate() {
        let parts = if signed { 1 << bits } else { 2 << bits };
        for part in 0..parts {
            let middle = f32::midpoint(boundary(part, parts), boundary(part + 1, parts));
            values.push(power * middle);
            if signed {
                values.push(-power * middle);
            }
        }
    }
    values.sort_by(f32::total_cmp);
    std::array::from_fn(|code| values[code])
}

/// Returns boundary `index` of `parts` equal parts of `[0.1, 1]`, rounded as torch's `linspace` does
/// it: fused from the nearer end.
fn boundary(index: usize, parts: usize) -> f32 {
    let step = (1.0 - 0.1_f32) / parts as f32;
    if index < parts.div_ceil(2) {
        step.mul_add(index as f32, 0.1)
    } else {
        (-step).mul_add((parts - index) as f32, 1.0)
    }
}
