//! A backend whose every answer the test writes: headers included, which the mock does not let choose.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// An answer to be given.
pub type Given = Response<BoxBody<Bytes, Infallible>>;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Came {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// Its number, from 1.
    pub number: usize,
    /// The body; empty where it broke off.
    pub body: Bytes,
}

/// The backend. It ends with this.
pub struct Origin {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
    _serving: JoinSet<()>,
}

/// An answer of 200 with these headers and this body.
pub fn given(fields: &[(&str, &str)], body: impl Into<Bytes>) -> Given {
    given_status(200, fields, body)
}

/// An answer.
pub fn given_status(status: u16, fields: &[(&str, &str)], body: impl Into<Bytes>) -> Given {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into()).boxed()).unwrap()
}

/// A backend that answers each request as `answer` says.
pub async fn origin<A>(answer: impl Fn(Came) -> A + Send + Sync + 'static) -> Origin
where
    A: Future<Output = Given> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let came: Arc<Mutex<Vec<Came>>> = Arc::default();
    let (seen, answer, numbers) = (Arc::clone(&came), Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, answer, numbers) = (Arc::clone(&seen), Arc::clone(&answer), Arc::clone(&numbers));
            let service = service_fn(move |request: Request<Incoming>| {
                let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
                let path = request.uri().path_and_query().unwrap().to_string();
                let (method, headers) = (request.method().to_string(), request.headers().clone());
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                async move {
                    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
                    let came = Came { method, path, headers, number, body };
                    seen.lock().unwrap().push(came.clone());
                    Ok::<_, Infallible>(answer(came).await)
                }
            });
            connections.spawn(async move {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Origin { address, came, _serving: serving }
}

impl Origin {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    pub fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// How many requests came.
    pub fn hits(&self) -> usize {
        self.came.lock().unwrap().len()
    }

    /// A field of the last request; empty when it has none.
    pub fn last(&self, name: &str) -> String {
        let last = self.came().pop().expect("a request came");
        last.headers.get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }
}
