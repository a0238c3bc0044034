//! The files of a part.
//!
//! ```text
//! parts/<table>/<part>/descriptor   what the part is; length and checksum of the other files
//! parts/<table>/<part>/index        first key of each granule, statistics of each granule
//! parts/<table>/<part>/data.vortex  the columns, rows in sort order
//! ```
//!
//! Skip indexes and projections are further files beside them. All are synced before anything refers to the part; a crash before that leaves a folder that
//! nothing refers to and that the sweep deletes. Files never change afterwards.

pub mod blocks;
pub mod descriptor;
pub mod envelope;
pub mod format;
pub mod index;
pub mod key_range;
pub mod statistics;

use granary_common::{PartId, TableId};

/// The folder of every part, below a volume's prefix.
pub const PARTS_FOLDER: &str = "parts";
/// What the part is.
pub const DESCRIPTOR_FILE: &str = "descriptor";
/// The sparse primary index and the granules' statistics.
pub const INDEX_FILE: &str = "index";
/// The columns.
pub const DATA_FILE: &str = "data.vortex";

/// The path of a part's file below a volume's prefix.
pub fn file_path(table: TableId, part: PartId, file: &str) -> String {
    format!("{PARTS_FOLDER}/{table}/{part}/{file}")
}

/// The table and part that a path below [`PARTS_FOLDER`] (`<table>/<part>/<file>`) belongs to.
pub fn owner_of(path: &str) -> Option<(TableId, PartId)> {
    let mut names = path.split('/');
    let table = names.next()?.parse().ok()?;
    let part = names.next()?.parse().ok()?;
    names.next()?;
    Some((TableId(table), PartId(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_part() {
        let path = file_path(TableId(3), PartId(70), INDEX_FILE);
        assert_eq!(path, "parts/3/70/index");
        assert_eq!(owner_of("3/70/index"), Some((TableId(3), PartId(70))));
        for other in ["3/70", "3/x/index", "lost+found", ""] {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }
}
