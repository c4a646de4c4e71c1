//! What is true now: which authorities, credentials and services this node has, and in which state they are.
//!
//! What lives here looks and never changes anything, and decides nothing: that is the planner's work.

pub mod catalog;
