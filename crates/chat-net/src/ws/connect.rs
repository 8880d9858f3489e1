//! Owns the way to a server: name resolution, a race over its addresses, a proxy's tunnel, TLS.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, time::Duration};

use chat_core::{Delivery, Error, ErrorKind, Result, Secret, VendorError};
use futures::{StreamExt, stream::FuturesUnordered};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::Io;
use crate::{
    error::{find, not_connected, tls_failed},
    http::resolve,
    policy::HostPolicy,
};

pub(super) struct Tcp {
    tls: Arc<ClientConfig>,
    proxy: Option<Proxy>,
}

struct Proxy {
    host: String,
    port: u16,
    authorization: Option<Secret>,
}

impl Tcp {
    pub(super) fn new(tls: Arc<ClientConfig>, proxy: Option<&Secret>) -> Result<Self> {
        Ok(Self { tls, proxy: proxy.map(|url| Proxy::parse(url.expose())).transpose()? })
    }

    pub(super) async fn connect(&self, url: &Url, policy: &HostPolicy) -> Result<Io> {
        let host = url.host().ok_or_else(|| Error::invalid_input("the URL has no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| Error::invalid_input("the URL has no port"))?;
        let tcp = match (&self.proxy, &host) {
            (Some(proxy), host) => proxy.tunnel(host, port).await?,
            // The policy has seen the address in the URL.
            (None, Host::Ipv4(ip)) => race(vec![SocketAddr::from((*ip, port))]).await?,
            (None, Host::Ipv6(ip)) => race(vec![SocketAddr::from((*ip, port))]).await?,
            (None, Host::Domain(name)) => race(resolve(name, port, policy).await?).await?,
        };
        // Messages are small and answers are waited for. Failing to say so only costs time.
        let _ = tcp.set_nodelay(true);
        if url.scheme() != "wss" {
            return Ok(Box::new(tcp));
        }
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| Error::invalid_input("the host is no name that TLS knows"))?,
            Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::V4(ip)),
            Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::V6(ip)),
        };
        match TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(find(&error).map_or_else(|| not_connected(&error), tls_failed)),
        }
    }
}

/// How long an address may keep the next one waiting (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to whichever address answers first; the families take turns.
async fn race(addresses: Vec<SocketAddr>) -> Result<TcpStream> {
    let mut queue = take_turns(addresses);
    let mut running = FuturesUnordered::new();
    let mut last = None;
    loop {
        if let Some(address) = queue.pop_front() {
            running.push(TcpStream::connect(address));
        }
        let outcome = if queue.is_empty() {
            running.next().await
        } else {
            match timeout(HEAD_START, running.next()).await {
                Ok(outcome) => outcome,
                Err(_) => continue,
            }
        };
        match outcome {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => last = Some(error),
            None => {
                let error = last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
                return Err(not_connected(&error));
            }
        }
    }
}

fn take_turns(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = VecDeque::new();
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let (a, b) = (first.next(), second.next());
        if a.is_none() && b.is_none() {
            return order;
        }
        order.extend(a.into_iter().chain(b));
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::Config, "the proxy is no valid HTTP URL");
        let url = Url::parse(text).map_err(|_| wrong())?;
        if url.scheme() != "http" {
            return Err(wrong());
        }
        let host = match url.host().ok_or_else(wrong)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let authorization = (!url.username().is_empty()).then(|| {
            let decoded = |part: &str| percent_decoded(part);
            let mut pair = decoded(url.username());
            pair.push(b':');
            pair.extend(decoded(url.password().unwrap_or_default()));
            Secret::from(format!("Basic {}", base64(&pair)))
        });
        Ok(Self { host, port: url.port_or_known_default().unwrap_or(80), authorization })
    }

    async fn tunnel(&self, host: &Host<&str>, port: u16) -> Result<TcpStream> {
        // The proxy is configured: it may well be private.
        let proxies = resolve(&self.host, self.port, &HostPolicy::configured()).await?;
        let mut tcp = race(proxies).await?;
        let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some(authorization) = &self.authorization {
            head.push_str(&format!("Proxy-Authorization: {}\r\n", authorization.expose()));
        }
        head.push_str("\r\n");
        tcp.write_all(head.as_bytes()).await.map_err(|error| not_connected(&error))?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the head belongs to the tunnel.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= 8 * 1024 {
                return Err(Error::new(ErrorKind::Network, "the proxy's answer is too long"));
            }
            answer.push(tcp.read_u8().await.map_err(|error| not_connected(&error))?);
        }
        let status = std::str::from_utf8(&answer)
            .ok()
            .and_then(|text| text.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse::<u16>().ok());
        match status {
            Some(200..300) => Ok(tcp),
            status => {
                let mut vendor = VendorError::default();
                vendor.status = status;
                Err(Error::new(ErrorKind::Network, "the proxy refused")
                    .with_delivery(Delivery::NotSent)
                    .with_vendor(vendor))
            }
        }
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 63;
            out.push(if digit > chunk.len() { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_credentials_are_encoded_and_hidden() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        let proxy = Proxy::parse("http://us%65r:p%40ss@proxy.corp:3128").unwrap();
        assert_eq!(proxy.authorization.unwrap().expose(), format!("Basic {}", base64(b"user:p@ss")));
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.corp", 3128));
        let error = Proxy::parse("socks5://user:hunter2@proxy").err().unwrap();
        assert_eq!(error.kind(), &ErrorKind::Config);
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn address_families_take_turns() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (a, b, c, d) = (at("[::1]:1"), at("[::2]:1"), at("1.1.1.1:1"), at("2.2.2.2:1"));
        assert_eq!(take_turns(vec![a, b, c, d]), [a, c, b, d]);
        assert_eq!(take_turns(vec![c, a, b]), [c, a, b]);
        assert!(take_turns(vec![]).is_empty());
    }
}
