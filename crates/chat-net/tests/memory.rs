//! The stack over the network in memory, in paused time.
