//! The `kubecertd` program: see the library for everything it does.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = kubecertd::cli::Arguments::parse();
    kubecertd::cli::run(&arguments).into()
}
