//! Compiles `proto/` with a compiler written in Rust, so that no `protoc` is needed.

use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    use prost::Message as _;
    // What the public port answers, for reflection; the calls between roles are not among it.
    let public = only(&descriptors, |package| !package.starts_with("granary.internal"));
    std::fs::write(out.join("public_descriptor.bin"), public.encode_to_vec())?;
    // The code of the other protocols is their crates'.
    let own = only(&descriptors, |package| package.starts_with("granary."));
    tonic_prost_build::configure().bytes(".").compile_fds(own)?;
    Ok(())
}

/// The files whose package `wanted` takes.
fn only(all: &FileDescriptorSet, wanted: impl Fn(&str) -> bool) -> FileDescriptorSet {
    let files = all.file.iter().filter(|file| wanted(file.package()));
    FileDescriptorSet { file: files.cloned().collect() }
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
