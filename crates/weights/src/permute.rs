//! The order of the rows of q and k.
//!
//! Hugging Face rotates pairs (j, j + D/2) of a head; llama-architecture GGUF files rotate
//! neighbours (2j, 2j + 1), so their rows are stored in another order.

/// Returns the GGUF row that holds Hugging Face row `row`, for heads of width `head_dim`
/// (even): h * D + t * D/2 + j becomes h * D + 2j + t.
pub(crate) fn interleaved_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    let (t, j) = (within / (head_dim / 2), within % (head_dim / 2));
    head * head_dim + 2 * j + t
}

/// Returns the Hugging Face row that GGUF row `row` holds: undoes [`interleaved_row`].
pub(crate) fn half_split_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    let (t, j) = (within % 2, within / 2);
    head * head_dim + t * (head_dim / 2) + j
}

/// Returns `values`, rows of `width`, with every Hugging Face row at its GGUF place.
pub(crate) fn interleave_rows(values: &[f32], width: usize, head_dim: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (row, from) in values.chunks_exact(width).enumerate() {
        let to = interleaved_row(row, head_dim) * width;
        out[to..to + width].copy_from_slice(from);
    }
    out
}

/// Undoes [`interleave_rows`].
pub(crate) fn half_split_rows(values: &[f32], width: usize, head_dim: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (row, to) in out.chunks_exact_mut(width).enumerate() {
        let from = interleaved_row(row, head_dim) * width;
        to.copy_from_slice(&values[from..from + width]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_for_a_head_of_six() {
        // Rows 0 1 2 | 3 4 5 are the two halves; GGUF alternates between them.
        let stored: Vec<usize> = (0..6).map(|row| interleaved_row(row, 6)).collect();
        assert_eq!(stored, [0, 2, 4, 1, 3, 5]);
        assert_eq!(interleaved_row(6 + 4, 6), 6 + 3);
        assert!((0..24).all(|row| half_split_row(interleaved_row(row, 6), 6) == row));
    }

    #[test]
    fn both_directions_undo_each_other() {
        let values: Vec<f32> = (0..2 * 8 * 3).map(|i| i as f32).collect();
        let there = interleave_rows(&values, 3, 8);
        assert_ne!(there, values);
        assert_eq!(half_split_rows(&there, 3, 8), values);
    }
}
