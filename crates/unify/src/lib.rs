//! Names every external dependency of the workspace; see `Cargo.toml` for why. Contains no code.
