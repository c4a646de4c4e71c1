//! Reads arbitrary text as configuration and as profile: the readers must not panic, and valid
//! settings can be printed.
#![no_main]

use std::path::Path;

use kubecertd::settings::{Profile, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Settings::from_files(&[(Path::new("kubecertd.toml"), text)]) {
        Ok(settings) => {
            let _ = format!("{settings:?}");
            let _ = Profile::load(&settings, &settings.profile, None);
            // Used as a drop-in over itself the text gives the same settings, or a list has a name
            // twice.
            let files = [(Path::new("kubecertd.toml"), text), (Path::new("again.toml"), text)];
            let _ = Settings::from_files(&files);
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
    if let Err(e) = Profile::parse(Path::new("profile.toml"), text) {
        assert!(!e.to_string().is_empty());
    }
});
