//! Pingora's stock HTTP proxy with nothing on top: the baseline that the gateway is compared with.
//!
//! `bare-pingora --listen 127.0.0.1:8080 --upstream 127.0.0.1:9001 --threads 2`

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use async_trait::async_trait;
use clap::Parser;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

/// Round robin over the upstreams, keep-alive on both sides.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// Backend address; repeat it for several.
    #[arg(long, required = true, num_args = 1..)]
    upstream: Vec<String>,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

struct RoundRobin {
    upstreams: Vec<String>,
    turn: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for RoundRobin {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let turn = self.turn.fetch_add(1, Relaxed) % self.upstreams.len();
        let upstream = self.upstreams.get(turn).ok_or_else(|| Error::new(ErrorType::InternalError))?;
        Ok(Box::new(HttpPeer::new(upstream.as_str(), false, String::new())))
    }
}

fn main() {
    let args = Args::parse();
    // Set here: worker threads, and an idle pool larger than the number of connections in the benchmark. All else is Pingora's
    // default: work stealing between the threads, the default HTTP modules (compression, off until asked for), no logger, the system's
    // allocator.
    let conf = ServerConf { threads: args.threads, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = RoundRobin { upstreams: args.upstream, turn: AtomicUsize::new(0) };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&args.listen);
    server.add_service(service);
    server.run_forever();
}
