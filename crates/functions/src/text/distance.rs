//! How alike two texts are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Float64Array, UInt64Array};

use crate::gives;
use crate::rows::each_pair;
use crate::scalar::{Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("damerauLevenshteinDistance", TWO, gives::number, |arguments| {
            let distances = each_pair(arguments, |left, right| {
                Some(strsim::damerau_levenshtein(left, right) as u64)
            });
            Ok(Arc::new(UInt64Array::from(distances?)))
        }),
        scalar("byteHammingDistance", TWO, gives::number, |arguments| {
            let distances = each_pair(arguments, |left, right| {
                let differ = left.bytes().zip(right.bytes()).filter(|(a, b)| a != b).count();
                Some((differ + left.len().abs_diff(right.len())) as u64)
            });
            Ok(Arc::new(UInt64Array::from(distances?)))
        }),
        scalar("jaroSimilarity", TWO, gives::float, |arguments| {
            let alike = each_pair(arguments, |left, right| Some(strsim::jaro(left, right)));
            Ok(Arc::new(Float64Array::from(alike?)))
        }),
        scalar("jaroWinklerSimilarity", TWO, gives::float, |arguments| {
            let alike = each_pair(arguments, |left, right| Some(strsim::jaro_winkler(left, right)));
            Ok(Arc::new(Float64Array::from(alike?)))
        }),
        scalar("stringJaccardIndex", TWO, gives::float, |arguments| {
            let alike = each_pair(arguments, |left, right| Some(jaccard(left, right)));
            Ok(Arc::new(Float64Array::from(alike?)))
        }),
        scalar("ngramDistance", TWO, gives::float, |arguments| {
            let distances = each_pair(arguments, |left, right| Some(ngram_distance(left, right)));
            Ok(Arc::new(Float64Array::from(distances?)))
        }),
        scalar("ngramSearch", TWO, gives::float, |arguments| {
            let found = each_pair(arguments, |text, needle| Some(ngram_search(text, needle)));
            Ok(Arc::new(Float64Array::from(found?)))
        }),
    ]
}

/// How often each run of `length` bytes occurs.
fn runs(text: &str, length: usize) -> HashMap<&[u8], i64> {
    let mut counts = HashMap::new();
    for run in text.as_bytes().windows(length) {
        *counts.entry(run).or_insert(0) += 1;
    }
    counts
}

/// The pairs of bytes that both have, of those that one has.
fn jaccard(left: &str, right: &str) -> f64 {
    let (left, right) = (runs(left, 2), runs(right, 2));
    let common = left.keys().filter(|run| right.contains_key(*run)).count();
    let all = left.len() + right.len() - common;
    if all == 0 { 0.0 } else { common as f64 / all as f64 }
}

/// The share of runs of four bytes that only one of both has.
fn ngram_distance(left: &str, right: &str) -> f64 {
    let (left, right) = (runs(left, 4), runs(right, 4));
    let total: i64 = left.values().sum::<i64>() + right.values().sum::<i64>();
    let count = |of: &HashMap<&[u8], i64>, run: &[u8]| of.get(run).copied().unwrap_or(0);
    let of_left: i64 = left.iter().map(|(run, n)| (n - count(&right, run)).abs()).sum();
    let of_right: i64 =
        right.iter().filter(|(run, _)| !left.contains_key(*run)).map(|(_, n)| n).sum();
    if total == 0 { 0.0 } else { (of_left + of_right) as f64 / total as f64 }
}

/// The share of the needle's runs of four bytes that the text has.
fn ngram_search(text: &str, needle: &str) -> f64 {
    let (text, needle) = (runs(text, 4), runs(needle, 4));
    let total: i64 = needle.values().sum();
    let found = |(run, n): (&&[u8], &i64)| text.get(*run).copied().unwrap_or(0).min(*n);
    if total == 0 { 0.0 } else { needle.iter().map(found).sum::<i64>() as f64 / total as f64 }
}
