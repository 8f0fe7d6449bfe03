//! Ctrl-C: one flag that every long loop polls, so that a command can stop
//! between two pieces of work and leave nothing half-written.
//!
//! The first Ctrl-C sets the flag; the second leaves at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{Exit, Stop};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Takes over Ctrl-C and the termination signal.
pub(crate) fn install() {
    // Without a handler the default action ends the process, which is safe too:
    // every artefact is written under a temporary name first.
    let _ = ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
        crate::output::note("stopping after the current step; press Ctrl-C again to leave at once");
    });
}

/// Returns whether the user asked to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Returns `Break` once the user asked to stop, for callbacks of the libraries.
pub(crate) fn flow() -> ControlFlow<()> {
    if requested() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// Returns an error once the user asked to stop.
///
/// # Errors
/// With [`Exit::Interrupted`] after a Ctrl-C.
pub(crate) fn check() -> anyhow::Result<()> {
    if requested() {
        return Err(stopped().into());
    }
    Ok(())
}

/// Returns the error that ends an interrupted command.
pub(crate) fn stopped() -> Stop {
    Stop::new(Exit::Interrupted, "interrupted")
        .hint("files already complete were kept; nothing was left half-written")
}
