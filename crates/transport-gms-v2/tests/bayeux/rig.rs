//! A Bayeux server on a network in memory, and what its application saw.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use chat_net::{Net, NetConfig, memory::MemoryNetwork};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message as Frame, handshake::derive_accept_key, protocol::Role},
};
use transport_gms_v2::bayeux::{
    client::{BayeuxClient, BayeuxConfig, Deliveries, Event},
    server::{Application, BayeuxServer, Client, Ended, Refusal, ServerConfig},
};

pub(crate) const HOST: &str = "gms.example.org:443";
pub(crate) const URL: &str = "https://gms.example.org/genesys/cometd";
pub(crate) const CHANNEL: &str = "/service/echo";

/// Delivers what is published back to who published it; refuses "forbidden".
#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) clients: Mutex<Vec<Client>>,
    pub(crate) published: Mutex<Vec<String>>,
    pub(crate) ended: Mutex<Vec<String>>,
}

#[async_trait]
impl Application for Echo {
    async fn on_publish(&self, client: &Client, channel: &str, data: Box<RawValue>) -> Result<(), Refusal> {
        {
            let mut clients = self.clients.lock().unwrap();
            if !clients.contains(client) {
                clients.push(client.clone());
            }
        }
        self.published.lock().unwrap().push(data.get().into());
        if data.get().contains("forbidden") {
            return Err(Refusal::new(403, "forbidden"));
        }
        client.deliver(channel, data);
        Ok(())
    }

    fn on_ended(&self, _: &Client, how: Ended) {
        let how = match how {
            Ended::Disconnected(ext) => format!("disconnected {}", serde_json::to_string(&ext).unwrap()),
            other => format!("{other:?}"),
        };
        self.ended.lock().unwrap().push(how);
    }
}

/// Path and cookies of a request.
type Seen = (String, Option<String>);

/// Server, network and client.
pub(crate) struct Rig {
    pub(crate) network: MemoryNetwork,
    pub(crate) net: Net,
    pub(crate) server: BayeuxServer,
    pub(crate) echo: Arc<Echo>,
    /// Paths and cookies of the requests.
    pub(crate) requests: Arc<Mutex<Vec<Seen>>>,
}

impl Rig {
    pub(crate) fn new(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::answering(change, false)
    }

    /// A server that sends the head of each answer at once, and its body when there is one.
    pub(crate) fn with_early_heads(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::answering(change, true)
    }

    fn answering(change: impl FnOnce(&mut ServerConfig), early_heads: bool) -> Self {
        let network = MemoryNetwork::new();
        let net = Net::in_memory(&network, &NetConfig::default()).unwrap();
        let mut config = ServerConfig::default();
        change(&mut config);
        let sockets = config.websocket;
        let echo = Arc::new(Echo::default());
        let server = BayeuxServer::new(config, echo.clone());
        tokio::spawn(server.sweeper());
        let requests = Arc::default();
        let rig = Self { network, net, server, echo, requests };
        rig.listen(sockets, early_heads);
        rig
    }

    fn listen(&self, sockets: bool, early_heads: bool) {
        let mut listener = self.network.listen(HOST);
        let (server, requests) = (self.server.clone(), Arc::clone(&self.requests));
        tokio::spawn(async move {
            while let Some(stream) = listener.accept().await {
                let (server, requests) = (server.clone(), Arc::clone(&requests));
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let server = server.clone();
                    let cookie =
                        request.headers().get(header::COOKIE).map(|value| value.to_str().unwrap().into());
                    requests.lock().unwrap().push((request.uri().path().into(), cookie));
                    async move { Ok::<_, Infallible>(answer(server, request, sockets, early_heads).await) }
                });
                tokio::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades(),
                );
            }
        });
    }

    pub(crate) fn client(&self, websocket: bool) -> BayeuxClient {
        self.client_with(|config| config.websocket = websocket)
    }

    pub(crate) fn client_with(&self, change: impl FnOnce(&mut BayeuxConfig)) -> BayeuxClient {
        let mut config = BayeuxConfig::new(URL);
        change(&mut config);
        BayeuxClient::new(&self.net, config).unwrap()
    }

    /// The session that published last, as the server sees it.
    pub(crate) fn session(&self) -> Client {
        self.echo.clients.lock().unwrap().last().unwrap().clone()
    }

    /// Pushes numbers to that session.
    pub(crate) fn push(&self, numbers: std::ops::Range<u32>) {
        let session = self.session();
        for number in numbers {
            assert!(session.deliver(CHANNEL, raw(&number.to_string())));
        }
    }
}

async fn answer(
    server: BayeuxServer,
    mut request: Request<hyper::body::Incoming>,
    sockets: bool,
    early_heads: bool,
) -> Response<BoxBody<Bytes, Infallible>> {
    let empty = |status| {
        let mut response = Response::new(Full::default().boxed());
        *response.status_mut() = status;
        response
    };
    if let Some(key) = request.headers().get("sec-websocket-key").cloned() {
        if !sockets {
            return empty(StatusCode::NOT_FOUND);
        }
        let headers: HeaderMap = request.headers().clone();
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let Ok(io) = upgrade.await else { return };
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, None).await;
            let (sink, stream) = socket.split();
            let incoming = stream.take_while(|frame| ready(frame.is_ok())).filter_map(|frame| {
                ready(match frame {
                    Ok(Frame::Text(text)) => Some(text.as_str().to_owned()),
                    _ => None,
                })
            });
            let outgoing = sink.with(|text: String| {
                ready(Ok::<_, tokio_tungstenite::tungstenite::Error>(Frame::text(text)))
            });
            server.socket(&headers, incoming, outgoing).await;
        });
        let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, "upgrade".parse().unwrap());
        headers.insert(header::UPGRADE, "websocket".parse().unwrap());
        headers.insert("sec-websocket-accept", derive_accept_key(key.as_bytes()).parse().unwrap());
        return response;
    }
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return empty(StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    if early_heads {
        let text = async move { server.exchange(&head.headers, &body).await.into_body() };
        let frames = futures::stream::once(text).map(|text| Ok(hyper::body::Frame::data(Bytes::from(text))));
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
        response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        return response;
    }
    server.exchange(&head.headers, &body).await.map(|text| Full::from(text).boxed())
}

pub(crate) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.into()).unwrap()
}

/// The next delivery's payload.
pub(crate) async fn delivery(deliveries: &mut Deliveries) -> String {
    loop {
        match deliveries.next().await {
            Some(Event::Delivery(incoming)) => {
                assert_eq!(incoming.channel, CHANNEL);
                return incoming.data.get().into();
            }
            Some(Event::Alive) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The payloads that come until the session is over, and how it is.
pub(crate) async fn to_the_end(
    deliveries: &mut Deliveries,
) -> (Vec<String>, transport_gms_v2::bayeux::client::Closed) {
    let mut got = Vec::new();
    loop {
        match deliveries.next().await {
            Some(Event::Delivery(incoming)) => got.push(incoming.data.get().into()),
            Some(Event::Alive) => {}
            Some(Event::Closed(closed)) => {
                assert!(deliveries.next().await.is_none(), "nothing follows");
                return (got, closed);
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}
