//! The token of a file: the same file into the same table is the same insert.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use granary_common::{Error, Result};

/// What else decides which rows a file becomes.
pub(super) struct Seed {
    pub(super) database: String,
    pub(super) table: String,
    pub(super) reading: String,
}

/// Hashes the seed, the file's name without its folder, and its content.
pub(super) fn of_file(seed: &Seed, path: &Path) -> Result<String> {
    let failed = |error| Error::invalid(format!("cannot read {}: {error}", path.display()));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut hasher = blake3::Hasher::new();
    for text in [seed.database.as_str(), &seed.table, &seed.reading, &name] {
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
    fn tokens_follow_content_name_and_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = |table: &str, name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            let seed =
                Seed { database: String::new(), table: table.to_owned(), reading: String::new() };
            of_file(&seed, &path).expect("readable")
        };
        let first = token("t", "a.csv", "1");
        assert_eq!(first, token("t", "a.csv", "1"));
        assert_ne!(first, token("t", "a.csv", "2"));
        assert_ne!(first, token("t", "b.csv", "1"));
        assert_ne!(first, token("u", "a.csv", "1"));
    }
}
