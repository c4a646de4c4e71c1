//! Reads arbitrary bytes as journal, alone and behind a valid header: the reader must not panic,
//! and a valid journal survives a round trip.
#![no_main]

use kubecertd::store::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::journal(bytes).expect("round trip");
    fuzzing::journal_of(bytes).expect("round trip, with a header");
});
