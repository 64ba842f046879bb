//! The gateway as a whole: the command line, and what a test needs to run one in process.
//!
//! [`boot::start`] puts the stages together; everything else here is how people and probes look at them.
#![forbid(unsafe_code)]

mod admin;
pub mod boot;
pub mod cli;
mod control;
pub mod demo;
mod descriptors;
pub mod logging;
mod memory;
pub mod panics;
mod report;
pub mod selftest;
pub mod settings;
mod told;
pub mod view;
