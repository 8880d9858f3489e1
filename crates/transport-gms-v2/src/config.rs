//! Owns what can be configured, with its defaults and its checks. No I/O.
