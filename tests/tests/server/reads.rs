//! A gateway that reads.
