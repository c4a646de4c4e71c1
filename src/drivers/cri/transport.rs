//! One gRPC connection over a unix socket, and one call on it.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixStream;
use tonic::Status;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic_prost::ProstCodec;

/// The longest answer that is accepted, the same as kubelet's: a full node lists more than gRPC's
/// default of 4 MiB.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// An open connection. It is not reopened when it breaks: connect again.
#[derive(Clone, Debug)]
pub struct Connection(SendRequest<Body>);

impl Connection {
    /// Connects, and does the HTTP/2 handshake.
    pub async fn open(socket: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        // It closes when the last sender is dropped. An error of the connection is also returned by
        // the call that it breaks.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Makes one call.
    pub async fn call<Q, A>(&self, path: &str, question: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(path).map_err(|e| Status::internal(e.to_string()))?;
        // The host name means nothing on a local socket, but servers require one.
        let mut client = Grpc::with_origin(self.clone(), Uri::from_static("http://localhost"))
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        client.ready().await.map_err(|e| Status::from_error(Box::new(e)))?;
        let answer = client
            .unary(tonic::Request::new(question), path, ProstCodec::<Q, A>::default())
            .await?;
        Ok(answer.into_inner())
    }
}

impl GrpcService<Body> for Connection {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
