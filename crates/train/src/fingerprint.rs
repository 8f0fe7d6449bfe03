//! The digest by which a checkpoint knows its run.

use model::{Encoded, Lora};
use sha2::{Digest, Sha256};

/// A digest of what a run is made of: settings, examples, base. A checkpoint is only continued by a
/// run of the same digest.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(crate) fn new(base_sha256: &str, settings: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(base_sha256.as_bytes());
        hash.update(settings.as_bytes());
        Self(hash)
    }

    pub(crate) fn example(&mut self, example: &Encoded) {
        self.0.update(example.id.as_bytes());
        self.0.update([0]);
        for (token, on) in example.tokens.iter().zip(&example.supervised) {
            self.0.update(token.to_le_bytes());
            self.0.update([u8::from(*on)]);
        }
    }

    pub(crate) fn adapter(&mut self, lora: &Lora) {
        for slice in lora.slices() {
            for value in slice {
                self.0.update(value.to_le_bytes());
            }
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0
            .finalize()
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}
