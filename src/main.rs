//! The `kubecertd` program: see the library for everything it does.

use std::alloc::System;
use std::process::ExitCode;

use clap::Parser as _;
use zeroizing_alloc::ZeroAlloc;

/// What is freed is wiped: private keys pass through buffers of libraries that know nothing of
/// keys.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    kubecertd::sys::keep_memory_private();
    let arguments = kubecertd::cli::Arguments::parse();
    kubecertd::cli::run(&arguments).into()
}
