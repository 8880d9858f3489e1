//! Owns what the client decides without I/O: the cursor, the identity, what a reply means.
