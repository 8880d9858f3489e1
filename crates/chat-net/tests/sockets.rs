//! The stack over real sockets of this machine: TLS, refusals, proxies.
