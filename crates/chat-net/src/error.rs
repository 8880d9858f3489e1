//! Owns how failures of the network become this library's errors: what happened, did it arrive, and nothing secret.

use std::{error::Error as StdError, fmt, io};

use chat_core::{Delivery, Error, ErrorKind, Retry};

/// The chain of a foreign error as one text. Foreign errors are not kept: their `Debug` may show URLs.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Cause {}

/// Every level of a chain, those hidden in an [`io::Error`] included.
struct Chain<'a>(Option<&'a (dyn StdError + 'static)>);

impl<'a> Iterator for Chain<'a> {
    type Item = &'a (dyn StdError + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.0?;
        // `io::Error::source` skips the error that it wraps.
        self.0 = match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => current.source(),
        };
        Some(current)
    }
}

pub(crate) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    Chain(Some(error)).find_map(|level| level.downcast_ref())
}

/// Adds the chain of `cause` as text. The caller has removed URLs from it.
pub(crate) fn caused(error: Error, cause: &(dyn StdError + 'static)) -> Error {
    let mut text = String::new();
    for level in Chain(Some(cause)) {
        let level = level.to_string();
        if !text.ends_with(&level) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&level);
        }
    }
    error.with_source(Cause(text))
}

/// A failure before there was a connection.
pub(crate) fn not_connected(cause: &(dyn StdError + 'static)) -> Error {
    if let Some(error) = find::<Error>(cause) {
        return error.clone();
    }
    if let Some(tls) = find::<rustls::Error>(cause) {
        return tls_failed(tls);
    }
    let timed_out = find::<io::Error>(cause).is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
    let kind = if timed_out { ErrorKind::Timeout } else { ErrorKind::Network };
    caused(Error::new(kind, "no connection").with_delivery(Delivery::NotSent), cause)
}

pub(crate) fn tls_failed(cause: &rustls::Error) -> Error {
    Error::new(ErrorKind::Tls, "handshake")
        .with_retry(Retry::Never)
        .with_delivery(Delivery::NotSent)
        .with_source(Cause(cause.to_string()))
}

/// A failure once there was a connection: whether the request arrived is unknown.
pub(crate) fn broken(cause: &(dyn StdError + 'static)) -> Error {
    if let Some(error) = find::<Error>(cause) {
        return error.clone();
    }
    if find::<hyper::Error>(cause).is_some_and(hyper::Error::is_parse) {
        return caused(unexpected("this is no HTTP"), cause);
    }
    caused(Error::new(ErrorKind::Network, "connection broken").with_delivery(Delivery::Unknown), cause)
}

pub(crate) fn timed_out(context: &'static str, delivery: Delivery) -> Error {
    Error::new(ErrorKind::Timeout, context).with_delivery(delivery)
}

pub(crate) fn unexpected(context: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::UnexpectedResponse, context)
}
