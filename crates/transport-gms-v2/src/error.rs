//! Owns what the errors of the service mean.
