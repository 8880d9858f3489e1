//! Files whose way is cut (F77).

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chat_core::Upload;
use chat_net::memory::Direction;
use transport_gms_v2::front::{Instead, Operation};

use crate::{
    Way,
    rig::{Rig, becomes, shows},
};

const SIZE: u64 = 200_000;

/// What is cut.
#[derive(Debug, Clone)]
enum Cut {
    /// The request, after so many bytes.
    After(u64),
    /// The answer.
    Answer(Instead),
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_cut_anywhere_is_made_again_and_stands_once() {
    for way in Way::ALL {
        // The question for the limits is shorter than that.
        let cuts = (0..10).map(|tenth| Cut::After(SIZE * tenth / 10 + 1_500));
        let answers = [Instead::LoseAnswer, Instead::TruncateAnswer, Instead::HangAfterwards, Instead::Cut];
        for cut in cuts.chain(answers.map(Cut::Answer)) {
            let what = format!("{way:?}, {cut:?}");
            let rig = Rig::new();
            let (session, contact) = rig.chat(way.client(&rig)).await;
            let seen = Arc::new(Mutex::new(Vec::new()));
            let reports = Arc::clone(&seen);
            let upload = Upload::from_bytes("scan.pdf", "application/pdf", vec![7; SIZE as usize])
                .with_progress(move |bytes| reports.lock().unwrap().push(bytes));
            match &cut {
                Cut::After(bytes) => rig.network.cut_after(Direction::ToServer, *bytes),
                Cut::Answer(instead) => rig.instead(Operation::FileUpload, instead.clone(), 1),
            }
            let send = session.send_file(upload).unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            rig.network.heal();
            send.await.unwrap_or_else(|error| panic!("{what}: {error}"));
            becomes("the file", || contact.truth().files.len() == 1).await;
            shows(&session, "its row", |session| {
                session.transcript().iter().any(|row| row.message_id().is_some())
            })
            .await;
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(contact.truth().files.len(), 1, "{what}");
            let rows = session.transcript().iter().filter(|row| !row.attachments().is_empty()).count();
            assert_eq!(rows, 1, "{what}");
            let seen = seen.lock().unwrap();
            assert_eq!(seen.last(), Some(&SIZE), "{what}");
            let steps = || seen.iter().zip(seen.iter().skip(1));
            assert!(steps().all(|(one, next)| one <= next || *next == 0), "{what}: {seen:?}");
            let begun = seen.iter().filter(|bytes| **bytes == 0).count();
            match cut {
                Cut::After(_) => assert!(begun > 1, "{what}: it began anew"),
                // Nobody told, and it was there: it is not sent twice.
                Cut::Answer(instead) => {
                    assert_eq!(begun, if instead == Instead::Cut { 2 } else { 1 }, "{what}")
                }
            }
        }
    }
}
