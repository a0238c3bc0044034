//! Copies of parts on several workers.
//!
//! ```text
//!   a part is written ─ Shipper ─► copy_parts of the other replicas ─► Receiver ─► read_file here
//!   the catalog says that copies are missing ─ plan ─► Receiver ─► ChangeCopies, PlaceBucket
//!   a copy is damaged ─ heal ─► given up, once a peer's copy has passed its check
//!   a sweep ─ Arrivals ─► never takes what is just coming in
//! ```

mod arrivals;
mod catch_up;
#[cfg(test)]
mod chaos_tests;
mod heal;
mod pace;
mod plan;
mod receive;
mod ship;

pub use arrivals::{Arrivals, Arriving};
pub use catch_up::CatchUp;
pub use heal::Healer;
pub use pace::Pace;
#[cfg(test)]
pub(crate) use plan::tests as plan_tests;
pub use plan::{Plan, Wanted, plan};
pub use receive::Receiver;
pub use ship::Shipper;
