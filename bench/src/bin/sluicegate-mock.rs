//! The mock backend as a program: `sluicegate-mock --listen 127.0.0.1:9001 --id a`.
//!
//! Prints `listening on ADDR` as its first line. See `POST /mock/fault` and the other control paths in `sluicegate_bench::mock`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, io};

use clap::Parser;
use sluicegate_bench::mock::Mock;
use tokio::runtime;

/// A backend that answers, echoes, streams and fails on order.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Name sent in X-Upstream.
    #[arg(long, default_value = "mock")]
    id: String,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Certificate chain (PEM); turns TLS on.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM).
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Also accept HTTP/2 without TLS.
    #[arg(long)]
    h2c: bool,
    /// Remember the last 1024 requests for GET /mock/requests.
    #[arg(long)]
    record: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match args.threads {
        0 | 1 => runtime::Builder::new_current_thread().enable_all().build(),
        threads => runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    match runtime.and_then(|runtime| runtime.block_on(run(args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluicegate-mock: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> io::Result<()> {
    let mut builder = Mock::builder(args.id).listen(args.listen).h2c(args.h2c).record(args.record);
    if let (Some(cert), Some(key)) = (args.tls_cert, args.tls_key) {
        builder = builder.tls(fs::read(cert)?, fs::read(key)?);
    }
    let mock = builder.try_start().await?;
    println!("listening on {}", mock.address());
    tokio::signal::ctrl_c().await
}
