//! Files dealt out to those who read them at the same time.

use serde::{Deserialize, Serialize};

/// A file of a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideFile {
    /// In its place.
    pub path: String,
    /// `None` where the server does not tell.
    pub bytes: Option<u64>,
}

/// A part of a file that is read at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Place of the file in the list of files.
    pub file: usize,
    /// What begins in these bytes is read; `None`: the whole file.
    pub range: Option<(u64, u64)>,
}

/// Bytes of a file that are worth a slice of their own.
const SLICE_BYTES_MIN: u64 = 16 << 20;
/// What a file without a known length counts as.
const UNKNOWN_BYTES: u64 = 64 << 20;

/// Deals the files to `groups`, so that each has about as many bytes. Files that can be read from
/// several places at once are cut. Every group is there, some may be empty.
pub(crate) fn deal(files: &[OutsideFile], is_split: bool, groups: usize) -> Vec<Vec<Slice>> {
    let groups = groups.max(1);
    let total: u64 = files.iter().map(|file| file.bytes.unwrap_or(UNKNOWN_BYTES)).sum();
    let share = (total / groups as u64).max(SLICE_BYTES_MIN);
    let mut slices: Vec<(u64, Slice)> = Vec::new();
    for (file, OutsideFile { bytes, .. }) in files.iter().enumerate() {
        let length = bytes.unwrap_or(UNKNOWN_BYTES);
        let pieces = match bytes {
            Some(_) if is_split => length.div_ceil(share).max(1),
            _ => 1,
        };
        for piece in 0..pieces {
            let edge =
                |piece: u64| (u128::from(length) * u128::from(piece) / u128::from(pieces)) as u64;
            let (from, to) = (edge(piece), edge(piece + 1));
            let range = (pieces > 1).then_some((from, to));
            slices.push((to - from, Slice { file, range }));
        }
    }
    slices.sort_by_key(|(bytes, slice)| (std::cmp::Reverse(*bytes), slice.file, slice.range));
    let mut dealt = vec![(0_u64, Vec::new()); groups];
    for (bytes, slice) in slices {
        if let Some(lightest) =
            dealt.iter_mut().min_by_key(|(bytes, slices)| (*bytes, slices.len()))
        {
            lightest.0 += bytes;
            lightest.1.push(slice);
        }
    }
    let in_order = |(_, mut slices): (u64, Vec<Slice>)| {
        slices.sort_by_key(|slice| (slice.file, slice.range));
        slices
    };
    dealt.into_iter().map(in_order).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn files(bytes: &[u64]) -> Vec<OutsideFile> {
        let file = |(at, bytes): (usize, &u64)| OutsideFile {
            path: at.to_string(),
            bytes: (*bytes > 0).then_some(*bytes),
        };
        bytes.iter().enumerate().map(file).collect()
    }

    #[test]
    fn every_byte_is_read_once() {
        for (bytes, is_split, groups, slices) in [
            (&[10 * MIB][..], true, 4, 1),
            (&[100 * MIB], true, 4, 4),
            (&[100 * MIB], false, 4, 1),
            (&[100 * MIB, 1, 2 * MIB], true, 2, 4),
            (&[0, 0], true, 3, 2),
            (&[], true, 2, 0),
        ] {
            let files = files(bytes);
            let dealt = deal(&files, is_split, groups);
            assert_eq!(dealt.len(), groups);
            let mut all: Vec<Slice> = dealt.concat();
            assert_eq!(all.len(), slices, "{bytes:?}");
            all.sort_by_key(|slice| (slice.file, slice.range));
            for (at, bytes) in bytes.iter().enumerate() {
                let ranges: Vec<_> = all.iter().filter(|slice| slice.file == at).collect();
                let mut next = 0;
                for slice in ranges {
                    let (from, to) = slice.range.unwrap_or((0, *bytes));
                    assert_eq!(from, next);
                    next = to;
                }
                assert_eq!(next, *bytes);
            }
        }
    }
}
