//! The sluicegate binary: everything is in the library.

use std::process::ExitCode;

use sluicegate_wipe::Wiping;
use tikv_jemallocator::Jemalloc;

/// Wipes what the threads that read the configuration free.
#[global_allocator]
static ALLOCATOR: Wiping<Jemalloc> = Wiping(Jemalloc);

fn main() -> ExitCode {
    // The first thing that it reads may be secrets which an earlier execution handed over; later it makes keys of secrets, and
    // hears the admin token.
    sluicegate_wipe::wipe_what_this_thread_frees();
    sluicegate::cli::main()
}
