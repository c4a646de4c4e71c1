//! Any text may be given as the configuration or as a profile: none may make the readers panic, and
//! what is right can be shown.
#![no_main]

use std::path::Path;

use kubecertd::settings::{Profile, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Settings::from_files(&[(Path::new("kubecertd.toml"), text)]) {
        Ok(settings) => {
            let _ = format!("{settings:?}");
            let _ = Profile::load(&settings, None);
            // As a drop-in over itself it is what it was, or a list in it has the same name twice.
            let _ = Settings::from_files(&[(Path::new("kubecertd.toml"), text), (Path::new("again.toml"), text)]);
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
    if let Err(e) = Profile::parse(Path::new("profile.toml"), text) {
        assert!(!e.to_string().is_empty());
    }
});
