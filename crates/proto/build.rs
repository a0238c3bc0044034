//! Compiles `proto/` with a compiler written in Rust, so that no `protoc` is needed.

use std::path::{Path, PathBuf};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("granary_descriptor.bin");
    tonic_prost_build::configure()
        .bytes(".")
        .file_descriptor_set_path(&out)
        .compile_fds(descriptors.clone())?;
    use prost::Message as _;
    std::fs::write(&out, descriptors.encode_to_vec())?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false if path.extension().is_some_and(|ending| ending == "proto") => files.push(path),
            false => {}
        }
    }
    Ok(())
}
