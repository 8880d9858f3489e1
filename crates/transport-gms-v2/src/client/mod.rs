//! Owns the client: a [`Transport`](chat_core::Transport) over REST polling or CometD push.
