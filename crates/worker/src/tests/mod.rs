//! A worker whose disk fails, tears and loses what was not synced, at every single step; files of
//! deletions that were replaced.

mod bench;
mod faults;
mod faulty_disk;
mod faulty_store;
mod replaced;
