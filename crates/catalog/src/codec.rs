//! Bytes of commands, rows and changes: a format version, then MessagePack with named fields, so
//! that a field can be added with a default. A newer format than this build knows is refused.

use granary_common::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format that this build writes.
pub const FORMAT_VERSION: u8 = 1;

/// Encodes a catalog value.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = vec![FORMAT_VERSION];
    value
        .serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map())
        .map_err(|error| Error::internal(format!("cannot encode a catalog value: {error}")))?;
    Ok(bytes)
}

/// Decodes a catalog value. Kind `Unsupported` when a newer build wrote it, `Corruption` when the
/// bytes are damaged.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let Some((&version, rest)) = bytes.split_first() else {
        return Err(Error::corruption("a catalog value is empty"));
    };
    if version > FORMAT_VERSION {
        return Err(Error::unsupported(format!(
            "the catalog was written in format {version} and this build reads up to \
             {FORMAT_VERSION}; start a newer build on this data folder"
        )));
    }
    rmp_serde::from_slice(rest)
        .map_err(|error| Error::corruption(format!("a catalog value cannot be read: {error}")))
}
