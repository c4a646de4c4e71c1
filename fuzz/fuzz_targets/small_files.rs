//! Reads arbitrary bytes as the small files of the state directory: the daemon's state, a hold, the
//! last good configuration, the state of services, and the daemon's status.
#![no_main]

use kubecertd::daemon::Status;
use kubecertd::store::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::small_files(bytes).expect("round trip");
    fuzzing::there_and_back::<Status>(bytes).expect("round trip");
});
