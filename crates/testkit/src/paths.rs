//! Where things are, relative to the checkout.

use std::path::PathBuf;

use crate::TestResult;

/// The root of the checkout.
pub fn repository() -> PathBuf {
    let crate_folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).map_or(crate_folder.clone(), PathBuf::from)
}

/// A path under the root of the checkout.
pub fn in_repository(path: &str) -> PathBuf {
    repository().join(path)
}

/// The `granary` executable that the tests start: `$GRANARY_BINARY`, or the one that was built
/// beside the running test.
pub fn granary_binary() -> TestResult<PathBuf> {
    if let Some(binary) = std::env::var_os("GRANARY_BINARY") {
        return Ok(PathBuf::from(binary));
    }
    let test = std::env::current_exe()?;
    // target/release/deps/<test> and target/release/granary
    let beside = test.ancestors().nth(2).map(|folder| folder.join("granary"));
    match beside.filter(|binary| binary.exists()) {
        Some(binary) => Ok(binary),
        None => Err("the granary executable is not built: \
                     run `cargo build --release --bin granary` first, as scripts/test does"
            .into()),
    }
}
