//! The suite on the simulated contact centre, for every kind of centre.

use chat_conformance::{conformance, sim::SimHarness};
use chat_sim::Profile;

conformance!(push, harness = SimHarness::new(Profile::push()), not_run = []);
conformance!(
    push_without_echo_token,
    harness = SimHarness::new(Profile::push_without_echo_token()),
    not_run = []
);
conformance!(
    push_without_idempotency,
    harness = SimHarness::new(Profile::push_without_idempotency()),
    not_run = []
);
conformance!(push_without_history, harness = SimHarness::new(Profile::push_without_history()), not_run = []);
conformance!(polling, harness = SimHarness::new(Profile::polling()), not_run = []);
conformance!(polling_with_history, harness = SimHarness::new(Profile::polling_with_history()), not_run = []);
conformance!(
    minimal,
    harness = SimHarness::new(Profile::minimal()),
    not_run = ["verifying_changes_nothing", "verifying_knows_an_ended_chat"]
);
conformance!(small_limits, harness = SimHarness::new(Profile::small_limits()), not_run = []);
