//! Owns the shapes of the GMS chat API v2 as they travel, over REST and over CometD: calls, replies, transcript events. No logic, no I/O.
