//! The token of a file: the same file, read in the same way, is the same insert. The server keeps tokens
//! table by table, so that a table is the same by whatever name.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use granary_common::{Error, Result};

/// Hashes how the file is read, its name without its folder, and its content.
pub(super) fn of_file(reading: &str, path: &Path) -> Result<String> {
    let failed = |error| Error::invalid(format!("cannot read {}: {error}", path.display()));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut hasher = blake3::Hasher::new();
    for text in [reading, &name] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        };
    }
    Ok(format!("load-{}", &hasher.finalize().to_hex()[..32]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_follow_content_name_and_reading() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = |reading: &str, name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            of_file(reading, &path).expect("readable")
        };
        let first = token("as it is", "a.csv", "1");
        assert_eq!(first, token("as it is", "a.csv", "1"));
        assert_ne!(first, token("as it is", "a.csv", "2"));
        assert_ne!(first, token("as it is", "b.csv", "1"));
        assert_ne!(first, token("with tabs", "a.csv", "1"));
    }
}
