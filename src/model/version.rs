//! The version of Kubernetes, as the images of its components have it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// A version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of Kubernetes, such as 1.29 or 1.36.1")]
pub struct InvalidVersion(String);

impl FromStr for Version {
    type Err = InvalidVersion;

    /// Without a third number that is 0.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion(text.to_owned());
        let mut numbers = text.split('.').map(str::parse);
        let mut next = || numbers.next().map(|number| number.map_err(|_| invalid()));
        let (major, minor) = (next().ok_or_else(invalid)??, next().ok_or_else(invalid)??);
        let patch = next().unwrap_or(Ok(0))?;
        match next() {
            None => Ok(Self { major, minor, patch }),
            Some(_) => Err(invalid()),
        }
    }
}

impl Version {
    /// The version in the tag of an image: `registry.k8s.io/kube-apiserver:v1.36.2`. What a
    /// distributor adds behind it does not count. `None` where there is no tag, or another one.
    #[must_use]
    pub fn of_image(image: &str) -> Option<Self> {
        let name = image.split('@').next()?.rsplit('/').next()?;
        let tag = name.split_once(':')?.1.strip_prefix('v')?;
        let end = tag.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tag.len());
        tag.get(..end)?.parse().ok()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_tag_of_an_image() {
        for (image, version) in [
            ("registry.k8s.io/kube-apiserver:v1.36.2", Some("1.36.2")),
            ("localhost:5000/k8s/kube-apiserver:v1.29.0-eks-1-29-3", Some("1.29")),
            ("example.com/kube-apiserver:v1.30.1_vendor.1", Some("1.30.1")),
            ("kube-apiserver:v1.28.9@sha256:0123", Some("1.28.9")),
            ("kube-apiserver@sha256:0123", None),
            ("localhost:5000/kube-apiserver", None),
            ("kube-apiserver:latest", None),
            ("kube-apiserver:v1", None),
            ("kube-apiserver:1.30.1", None),
            ("kube-apiserver:v1.30.1.2", None),
        ] {
            let expected = version.map(|version| version.parse().unwrap());
            assert_eq!(Version::of_image(image), expected, "{image}");
        }
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("1.9") < version("1.29") && version("1.36") < version("1.36.1"));
        for text in ["", "1", "1.", "1.x", "1.2.3.4", "v1.2"] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }
}
