//! Owns the production leaf: reqwest, with redirects, retries, decompression and cookies off.

use std::{net::SocketAddr, time::Duration};

use chat_core::{Delivery, Error, ErrorKind, Result};
use http::{Request, Response};
use http_body_util::BodyExt;
use reqwest::{
    Client, Proxy,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use tower::service_fn;

use super::{Body, Guarded, HttpService};
use crate::{
    config::NetConfig,
    error::{broken, caused, not_connected, timed_out},
    policy::{HostPolicy, refused},
};

pub(super) fn reqwest_leaf(config: &NetConfig, tls: &rustls::ClientConfig) -> Result<HttpService> {
    let builder = || -> Result<reqwest::ClientBuilder> {
        let builder = Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(config.connect_timeout)
            // Shorter than what servers usually keep: a connection that dies under a request leaves it `Unknown`.
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(8)
            .tcp_keepalive(Duration::from_secs(30));
        Ok(match &config.proxy {
            Some(url) => {
                let proxy = Proxy::all(url.expose())
                    .map_err(|_| Error::new(ErrorKind::Config, "the proxy is no valid URL"))?;
                builder.proxy(proxy)
            }
            None => builder.no_proxy(),
        })
    };
    let build = |builder: reqwest::ClientBuilder| {
        builder.build().map_err(|error| {
            caused(Error::new(ErrorKind::Config, "the HTTP client cannot be set up"), &error.without_url())
        })
    };
    let open = build(builder()?)?;
    let guarded = build(builder()?.dns_resolver(Guard(HostPolicy::public().loopback())))?;
    Ok(HttpService::new(service_fn(move |request: Request<Body>| {
        let guard = request.extensions().get::<Guarded>().is_some();
        let client = if guard { guarded.clone() } else { open.clone() };
        async move {
            let request = request.map(reqwest::Body::wrap);
            let request = reqwest::Request::try_from(request)
                .map_err(|_| Error::invalid_input("the request has no valid URL"))?;
            let response: Response<reqwest::Body> = client.execute(request).await.map_err(failed)?.into();
            let (mut head, body) = response.into_parts();
            head.extensions.clear();
            Ok(Response::from_parts(head, Body::wrap(body.map_err(|error| broken(&error.without_url())))))
        }
    })))
}

fn failed(error: reqwest::Error) -> Error {
    let error = error.without_url();
    if error.is_connect() && error.is_timeout() {
        timed_out("connect", Delivery::NotSent)
    } else if error.is_connect() {
        not_connected(&error)
    } else if error.is_builder() {
        Error::invalid_input("the request cannot be sent")
    } else {
        broken(&error)
    }
}

/// Name resolution for hosts that a vendor named: only public addresses come out of it.
struct Guard(HostPolicy);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let addresses = resolve(name.as_str(), 0, &policy).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a host that the policy permits.
pub(crate) async fn resolve(name: &str, port: u16, policy: &HostPolicy) -> Result<Vec<SocketAddr>> {
    let found: Vec<_> =
        tokio::net::lookup_host((name, port)).await.map_err(|error| not_connected(&error))?.collect();
    let permitted: Vec<_> =
        found.iter().copied().filter(|address| policy.permits_resolved(name, address.ip())).collect();
    match (found.is_empty(), permitted.is_empty()) {
        (true, _) => Err(Error::new(ErrorKind::Network, "the host has no address")),
        (false, true) => Err(refused(Some(name), "leads to a private address")),
        _ => Ok(permitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_refused() {
        let error = resolve("localhost", 80, &HostPolicy::public()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::HostRefused);
        assert!(!resolve("localhost", 80, &HostPolicy::public().loopback()).await.unwrap().is_empty());
    }

    #[tokio::test]
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    async fn the_refusal_survives_the_way_through_the_http_client() {
        let tls = crate::tls::client_config(&crate::tls::Trust::Only(vec![])).unwrap();
        let client = Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .no_proxy()
            .dns_resolver(Guard(HostPolicy::public()))
            .build()
            .unwrap();
        let error = failed(client.get("http://localhost:1/?token=s3cr3t").send().await.unwrap_err());
        assert_eq!(error.kind(), &ErrorKind::HostRefused);
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert!(!format!("{error:?}").contains("s3cr3t"));
    }
}
