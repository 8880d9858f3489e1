//! Owns what the independent checks share: whether they may be skipped, where the workspace is, and running Node.
//!
//! An independent check runs something that this project did not write (a vendor's client or SDK) against it. It needs
//! more than cargo: without that it is skipped with a message, unless `CHAT_REQUIRE_INDEPENDENT=1` is set, as in CI,
//! where a skipped check is a failed one.

pub mod node;

use std::{
    future::Future,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// Far longer than anything takes that still works.
const PATIENCE: Duration = Duration::from_secs(60);

/// `future`'s output, or a failed test that says what did not come.
///
/// # Panics
/// If it takes far longer than anything does that still works.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// The workspace's root folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether `name` is set to `1` in the environment.
pub fn switched_on(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "tests are configured by the environment, like binaries")]
    std::env::var(name).is_ok_and(|value| value == "1")
}

/// Skips the independent check `name` because of `reason`, visibly.
///
/// # Panics
///
/// With `CHAT_REQUIRE_INDEPENDENT=1`.
pub fn skip(name: &str, reason: &str) {
    assert!(
        !switched_on("CHAT_REQUIRE_INDEPENDENT"),
        "the independent check {name} cannot run, and CHAT_REQUIRE_INDEPENDENT=1 forbids skipping it: {reason}"
    );
    // Written directly: the test harness captures what the print macros write.
    let _ = writeln!(std::io::stderr(), "SKIPPED: independent check {name}: {reason}");
}
