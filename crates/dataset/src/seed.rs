//! Numbers that depend on a seed and a name only, so that neither the order of work nor another
//! example changes them.

use sha2::{Digest, Sha256};

/// Returns 64 bits that depend on the seed, the purpose and the name.
pub(crate) fn hash(seed: u64, purpose: &str, name: &str) -> u64 {
    let mut digest = Sha256::new();
    digest.update(seed.to_le_bytes());
    // Lengths keep ("a", "bc") apart from ("ab", "c").
    digest.update((purpose.len() as u64).to_le_bytes());
    digest.update(purpose);
    digest.update(name);
    let bytes = digest.finalize();
    bytes
        .iter()
        .take(8)
        .fold(0, |number, &byte| (number << 8) | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_matters() {
        assert_eq!(hash(1, "a", "bc"), hash(1, "a", "bc"));
        assert_ne!(hash(1, "a", "bc"), hash(2, "a", "bc"));
        assert_ne!(hash(1, "a", "bc"), hash(1, "ab", "c"));
    }
}
