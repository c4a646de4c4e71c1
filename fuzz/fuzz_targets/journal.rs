//! Any bytes may stand where the journal is expected, and behind a header that fits them: none may
//! make its reader panic, and what is understood is written so that it is understood again.
#![no_main]

use kubecertd::store::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::journal(bytes).expect("there and back");
    fuzzing::journal_of(bytes).expect("there and back, with a header");
});
