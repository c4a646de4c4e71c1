//! Credentials and directories that are gone.
