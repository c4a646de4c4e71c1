//! Any bytes may stand in the state folder's small files: the daemon's memory, a hold, the last
//! good configuration, what is remembered of services, and the daemon's status.
#![no_main]

use kubecertd::report::Status;
use kubecertd::store::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::small_files(bytes).expect("there and back");
    fuzzing::there_and_back::<Status>(bytes).expect("there and back");
});
