//! Owns the calls of the service, one attempt each: which address, which headers, which time-out. Source: §1.2, §2, §9.3.

use chat_core::{Delivery, Error, ErrorKind, Result, Upload};
use chat_net::{
    Net,
    http::{Body, CookieJar, Download, Operation as Named, Reply, RequestTimeout},
};
use http::{HeaderMap, HeaderValue, Request, header};

use super::multipart::Multipart;
use crate::{
    bayeux::client::Publisher,
    config::{GmsConfig, Timings},
    wire::{Operation, Parameters},
};

/// The service at its addresses.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) net: Net,
    /// The chat URL.
    base: Option<String>,
    /// Where files go in CometD mode.
    companion: Option<String>,
    /// Of calls of the chat URL.
    headers: HeaderMap,
    /// Of all others.
    session_headers: HeaderMap,
    pub(crate) timings: Timings,
}

/// Where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the chat URL: the operation in the path, the parameters in a form.
    Rest,
    /// To the companion of CometD: operation and parameters as parts. Files alone.
    Companion,
}

/// The cookies of a call.
#[derive(Debug, Clone)]
pub(crate) enum Cookies {
    /// Of a chat over REST: they pin it to a node.
    Jar(CookieJar),
    /// Of a Bayeux session.
    Header(Option<HeaderValue>),
}

impl Service {
    /// # Errors
    /// `Config`, as [`GmsConfig::check`].
    pub(crate) fn new(config: &GmsConfig, net: Net) -> Result<Self> {
        Ok(Self {
            net,
            base: config.base().map(str::to_owned),
            companion: config.cometd.as_ref().and_then(|cometd| cometd.companion_url.clone()),
            headers: config.request_headers()?,
            session_headers: config.session_headers()?,
            timings: config.timings,
        })
    }

    /// One call. The answer is read whole, whatever it says.
    pub(crate) async fn call(
        &self,
        way: Way,
        operation: Operation,
        parameters: &Parameters,
        cookies: &Cookies,
    ) -> Result<Reply> {
        let (content_type, body) = plain(way, operation, parameters);
        let request = self.request(way, operation, parameters, cookies, &content_type, body)?;
        self.net.http().send(request).await
    }

    /// Sends a file.
    pub(crate) async fn upload(
        &self,
        way: Way,
        parameters: &Parameters,
        upload: &Upload,
        cookies: &Cookies,
    ) -> Result<Reply> {
        const OPERATION: Operation = Operation::FileUpload;
        let form = form(way, OPERATION, parameters);
        let content_type = form.content_type();
        let body = form.file("file", upload);
        self.net.http().send(self.request(way, OPERATION, parameters, cookies, &content_type, body)?).await
    }

    /// Fetches a file, at most `max_bytes` of it. The answer may say why not.
    pub(crate) async fn download(
        &self,
        way: Way,
        parameters: &Parameters,
        max_bytes: u64,
        cookies: &Cookies,
    ) -> Result<Download> {
        const OPERATION: Operation = Operation::FileDownload;
        let (content_type, body) = plain(way, OPERATION, parameters);
        let request = self.request(way, OPERATION, parameters, cookies, &content_type, body)?;
        self.net.http().stream(request, max_bytes).await
    }

    /// The cookies of a Bayeux session for the companion (§9.3).
    pub(crate) fn companion_cookies(&self, publisher: &Publisher) -> Option<HeaderValue> {
        publisher.session()?.cookies(&self.companion.as_deref()?.parse().ok()?)
    }

    fn request(
        &self,
        way: Way,
        operation: Operation,
        parameters: &Parameters,
        cookies: &Cookies,
        content_type: &str,
        body: Body,
    ) -> Result<Request<Body>> {
        let missing = || Error::new(ErrorKind::Config, "there is no URL for it");
        let (url, headers) = match way {
            Way::Rest => {
                let base = self.base.as_deref().ok_or_else(missing)?;
                let chat = parameters.identity.chat_id.as_deref();
                let path = operation.rest_path(chat, parameters.file_id.as_deref()).ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, "an id that is none").with_delivery(Delivery::NotSent)
                })?;
                (format!("{base}{path}"), &self.headers)
            }
            Way::Companion => (self.companion.clone().ok_or_else(missing)?, &self.session_headers),
        };
        let timeout = if operation.is_about_files() && operation != Operation::FileLimits {
            self.timings.file_timeout
        } else {
            self.timings.ajax_timeout
        };
        let mut request = Request::post(url)
            .extension(Named(operation.name()))
            .extension(RequestTimeout(timeout))
            .body(body)
            .map_err(|_| Error::new(ErrorKind::Config, "a request that is no URL"))?;
        *request.headers_mut() = headers.clone();
        match cookies {
            Cookies::Jar(jar) => drop(request.extensions_mut().insert(jar.clone())),
            Cookies::Header(Some(value)) => drop(request.headers_mut().insert(header::COOKIE, value.clone())),
            Cookies::Header(None) => {}
        }
        let content_type = HeaderValue::try_from(content_type)
            .map_err(|_| Error::new(ErrorKind::Internal, "a content type that is none"))?;
        request.headers_mut().insert(header::CONTENT_TYPE, content_type);
        let accept = if operation == Operation::FileDownload { "*/*" } else { "application/json" };
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
        Ok(request)
    }
}

/// The body of a call without a file.
fn plain(way: Way, operation: Operation, parameters: &Parameters) -> (String, Body) {
    match way {
        Way::Rest => ("application/x-www-form-urlencoded".to_owned(), parameters.to_form(operation).into()),
        Way::Companion => {
            let form = form(way, operation, parameters);
            (form.content_type(), form.close())
        }
    }
}

/// The parts of a call, without the file.
fn form(way: Way, operation: Operation, parameters: &Parameters) -> Multipart {
    let pairs = match way {
        Way::Rest => parameters.to_pairs(operation),
        Way::Companion => parameters.to_companion(operation),
    };
    let mut form = Multipart::new();
    for (name, value) in pairs {
        form.text(&name, &value);
    }
    form
}
