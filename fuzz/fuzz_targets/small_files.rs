//! Parses arbitrary bytes as each of the state files (passes, hold, last good configuration,
//! services) and as the daemon's status.
#![no_main]

use kubecertd::report::Status;
use kubecertd::state::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::state_files(bytes).expect("round trip");
    fuzzing::round_trip::<Status>(bytes).expect("round trip");
});
