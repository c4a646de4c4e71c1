//! Parses arbitrary bytes as a journal, and as the body behind a fitting header: the parser may not
//! panic, and an intent must be the same after it is written and parsed again.
#![no_main]

use kubecertd::store::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::journal(bytes).expect("round trip");
    fuzzing::journal_of(bytes).expect("round trip with a header");
});
