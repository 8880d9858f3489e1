//! Owns the meaning of transcript events: from the vendor's shapes to sightings.
