//! Owns what the independent checks share: whether they may be skipped, and where the workspace is.
//!
//! An independent check runs something that this project did not write (a vendor's client or SDK) against it. It needs
//! more than cargo: without that it is skipped with a message, unless `CHAT_REQUIRE_INDEPENDENT=1` is set, as in CI,
//! where a skipped check is a failed one.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

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
