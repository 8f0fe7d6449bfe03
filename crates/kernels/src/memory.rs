//! What the C library's allocator holds back from the system.
//!
//! Large buffers come and go in a training, and how much of the freed memory stays with the process
//! hangs on which thread freed it: the GNU C library gives every thread a heap of its own and
//! returns little of them. These two calls make a process's peak a matter of its buffers.

/// Lets all threads share one heap, whose free memory can be given back. Call it before the first
/// thread starts; heaps that exist stay.
pub fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a call into the C library")]
    // SAFETY: mallopt(3) takes two numbers and changes a parameter of the allocator.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns freed memory to the system, so that the next large buffers do not stand beside it.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a call into the C library")]
    // SAFETY: malloc_trim(3) takes a number, is thread-safe and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
