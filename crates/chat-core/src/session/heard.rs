//! Owns which receipts of others have been told: per participant "read up to", never back.

use std::collections::HashMap;

use crate::{command::ReceiptKind, ids::ParticipantId, transcript::Spot};

/// How far each participant has got and read.
#[derive(Debug, Default)]
pub(super) struct ReceiptsHeard(HashMap<ParticipantId, (Option<Spot>, Option<Spot>)>);

impl ReceiptsHeard {
    /// Takes a receipt in. Says whether it goes further than what is known.
    pub(super) fn note(&mut self, by: &ParticipantId, spot: Option<Spot>, kind: ReceiptKind) -> bool {
        let (delivered, read) = self.0.entry(by.clone()).or_default();
        let further = |known: &mut Option<Spot>| {
            let further = spot > *known;
            if further {
                known.clone_from(&spot);
            }
            further
        };
        match kind {
            // Reading implies delivery.
            ReceiptKind::Read => {
                further(delivered);
                further(read)
            }
            ReceiptKind::Delivered => further(delivered),
        }
    }
}
