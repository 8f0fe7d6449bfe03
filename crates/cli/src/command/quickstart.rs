use clap::Args;
#[derive(Args, Debug)]
pub(crate) struct Typed {}
pub(crate) fn run(_: &Typed, _: &crate::arguments::Global) -> anyhow::Result<crate::output::Printed> { anyhow::bail!("x") }
