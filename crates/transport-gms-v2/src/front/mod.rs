//! Owns the service for unmodified clients: REST and CometD over any [`Transport`](chat_core::Transport).
