//! Owns Bayeux 1.0, the protocol of CometD, with nothing of chat in it: messages, a client and a server.
