//! The roles as processes.
