//! The sluicegate binary: everything is in the library.

use std::process::ExitCode;

use sluicegate_wipe::Wiping;
use tikv_jemallocator::Jemalloc;

/// Wipes what the threads that read the configuration free.
#[global_allocator]
static ALLOCATOR: Wiping<Jemalloc> = Wiping(Jemalloc);

fn main() -> ExitCode {
    sluicegate::cli::main()
}
