//! Files whose way is cut (F77).

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chat_core::Upload;
use chat_net::memory::Direction;

use crate::{
    Way,
    rig::{Rig, becomes, shows},
};

const SIZE: u64 = 200_000;

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_cut_anywhere_is_made_again_and_stands_once() {
    for way in Way::ALL {
        // Behind the question for the limits: of the file, then of the answer.
        let cuts = (0..10).map(|tenth| (Direction::ToServer, SIZE * tenth / 10 + 1_500));
        let cuts = cuts.chain([1, 100, 300].map(|bytes| (Direction::ToClient, bytes)));
        for (direction, bytes) in cuts {
            let what = format!("{way:?}, cut {direction:?} after {bytes}");
            let rig = Rig::new();
            let (session, contact) = rig.chat(way.client(&rig)).await;
            let seen = Arc::new(Mutex::new(Vec::new()));
            let reports = Arc::clone(&seen);
            let upload = Upload::from_bytes("scan.pdf", "application/pdf", vec![7; SIZE as usize])
                .with_progress(move |bytes| reports.lock().unwrap().push(bytes));
            rig.network.cut_after(direction, bytes);
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
            let files = contact.truth().files;
            assert_eq!(files.len(), 1, "{what}");
            let rows = session.transcript().iter().filter(|row| !row.attachments().is_empty()).count();
            assert_eq!(rows, 1, "{what}");
            let seen = seen.lock().unwrap();
            assert_eq!(seen.last(), Some(&SIZE), "{what}");
            let steps = || seen.iter().zip(seen.iter().skip(1));
            assert!(steps().all(|(one, next)| one <= next || *next == 0), "{what}: {seen:?}");
            if direction == Direction::ToServer {
                assert!(seen.iter().filter(|bytes| **bytes == 0).count() > 1, "{what}: it began anew");
            }
        }
    }
}
