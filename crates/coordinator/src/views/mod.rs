//! Views: what stands behind their names for a statement, how they are made, and what
//! materialized ones get.
//!
//! ```text
//!   name ──SnapshotCatalog──► alias, materialized view ─► the table behind it
//!                       └───► plain view ──bind──► its query, in the database it was made in
//!
//!   aggregation of a source ──by_views──► aggregation of what its materialized view filled
//!
//!   CREATE ──► create ──► NewView ──► catalog          insert ──► fill ──► blocks of the targets
//! ```

mod alias;
mod answers;
mod bind;
mod create;
mod populate;
mod rows;

pub use alias::create_alias;
pub(crate) use answers::by_views;
pub use bind::SessionViews;
pub use create::create_view;
pub(crate) use rows::ViewRows;
