//! Amazon Connect chat from both ends: the vendor's shapes, the client as a transport, and the service for unmodified clients.

pub mod wire;
