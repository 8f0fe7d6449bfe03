//! Plain loops compiled for every register width, the widest this machine has being run.

/// Runs `f` compiled for the widest registers of this machine. Write the closure as
/// `#[inline(always)] || ...`: only what is inlined here is compiled for them.
///
/// The bound is `FnMut` though `f` runs once: calling a closure through `FnOnce` goes by a shim of
/// the compiler's, which is not inlined, and the loop would silently run in baseline code.
#[inline(always)]
pub(crate) fn widest<R>(f: impl FnMut() -> R) -> R {
    struct Once<F>(F);

    impl<R, F: FnMut() -> R> pulp::NullaryFnOnce for Once<F> {
        type Output = R;

        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }

    pulp::Arch::new().dispatch(Once(f))
}

#[cfg(test)]
mod tests {
    use super::widest;

    /// The shim's name must not stand between the dispatch and the loop. There is no way to ask the
    /// compiler, but a fused multiply-add tells: without the machine's instruction it is a call into
    /// the library, tens of times slower; here it only has to be right.
    #[test]
    fn runs_the_closure_once_and_returns_its_value() {
        let mut count = 0;
        let sum = widest(
            #[inline(always)]
            || {
                count += 1;
                (0..100u16)
                    .map(|i| f32::from(i).mul_add(2.0, 1.0))
                    .sum::<f32>()
            },
        );
        assert_eq!((count, sum), (1, 10_000.0));
    }
}
