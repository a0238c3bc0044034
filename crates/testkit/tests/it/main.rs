//! The tests of whole clusters and of the checkout, in one executable: linking is what takes long.

mod acceptance;
mod adbc;
mod bad_input;
mod bad_starts;
mod chaos;
mod deploy;
mod engines;
mod faults;
mod house_rules;
mod indexes;
mod refreshes;
mod replication;
mod sql;
mod stale;
mod tiers;
mod tpch;
mod writers;
