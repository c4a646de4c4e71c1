//! The `kubecertd` program. The library does the work.

use std::alloc::System;
use std::process::ExitCode;

use clap::Parser as _;
use zeroizing_alloc::ZeroAlloc;

/// Wipes all memory that is freed: private keys pass through buffers of libraries that do not wipe
/// them.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    kubecertd::sys::keep_memory_private();
    let arguments = kubecertd::cli::Arguments::parse();
    kubecertd::cli::run(&arguments).into()
}
