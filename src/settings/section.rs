//! A setting with its origin, and the tables of settings: each key is declared once, with its type
//! and its default.

use std::ops::Deref;

use serde::Serialize;
use toml::Spanned;

use super::error::Stated;
use super::origin::Origin;
use super::source::ConfigSource;

/// A value of the configuration, its key and where it was set. Reads like the value itself.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    key: &'static str,
    value: T,
    origin: Origin,
}

impl<T> Setting<T> {
    pub(super) fn default_value(key: &'static str, value: T) -> Self {
        Self { key, value, origin: Origin::Default }
    }

    /// Takes the value of a file when the file has one: a later file wins.
    pub(super) fn take(&mut self, value: Option<Spanned<T>>, source: ConfigSource<'_>) {
        if let Some(value) = value {
            self.origin = source.origin(&value.span());
            self.value = value.into_inner();
        }
    }

    /// Where it was set.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl<T: Serialize> Setting<T> {
    /// Key, value and origin, as messages show them.
    #[must_use]
    pub fn stated(&self) -> Stated {
        // Every setting is a text or a number, so that writing it as TOML can't fail.
        let value = toml::Value::try_from(&self.value)
            .map_or_else(|_| String::new(), |value| value.to_string());
        Stated { key: self.key, value, origin: self.origin.clone() }
    }
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Where it was set does not make a setting a different one.
impl<T: PartialEq> PartialEq for Setting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Declares a table of the configuration: the settings with their defaults, and the fragment that
/// one file may give. Tables that stand below it in the file are settings of their own.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident, $fragment:ident, $table:literal {
        $($(#[$key_doc:meta])* $key:ident: $type:ty = $default:expr,)*
    } $(below { $($below:ident: $below_type:ty,)* })?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$key_doc])* pub $key: $crate::settings::section::Setting<$type>,)*
        }

        #[derive(Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default, expecting = "a table")]
        pub(super) struct $fragment {
            $($key: Option<toml::Spanned<$type>>,)*
            $($(pub(super) $below: $below_type,)*)?
        }

        impl Default for $name {
            fn default() -> Self {
                use $crate::settings::section::Setting;
                Self {
                    $($key: Setting::default_value(
                        concat!($table, ".", stringify!($key)),
                        $default,
                    ),)*
                }
            }
        }

        impl $name {
            pub(super) fn take(
                &mut self,
                fragment: $fragment,
                source: $crate::settings::source::ConfigSource<'_>,
            ) {
                $(self.$key.take(fragment.$key, source);)*
            }

            pub(super) fn stated(&self) -> Vec<$crate::settings::error::Stated> {
                vec![$(self.$key.stated(),)*]
            }
        }
    };
}
pub(super) use section;
