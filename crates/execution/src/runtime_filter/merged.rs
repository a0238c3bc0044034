//! What several tasks have built, each of them a part, as one summary.

use std::sync::Arc;

use super::KeySummary;
use super::keys::{Bounds, words_for};

impl KeySummary {
    /// Lets pass whatever one of `parts` lets pass. `None` when that cannot be said.
    pub fn merged(parts: &[Arc<KeySummary>]) -> Option<KeySummary> {
        let mut bounds = vec![Bounds::default(); parts.first()?.bounds.len()];
        for part in parts {
            for (all, own) in bounds.iter_mut().zip(&part.bounds).filter(|(_, own)| own.known) {
                all.widen(own.min);
                all.widen(own.max);
            }
        }
        let keys = parts.iter().map(|part| part.keys).sum();
        let mut merged = KeySummary { keys, bounds, bitmap: false, words: Vec::new() };
        let filled = || parts.iter().filter(|part| !part.is_empty());
        let all_bitmaps = filled().all(|part| part.bitmap);
        match merged.bitmap_range(keys).filter(|_| all_bitmaps) {
            Some(range) => {
                merged.make_bitmap(&range);
                for key in filled().flat_map(|part| part.numbers()) {
                    merged.set_number(*range.start(), key);
                }
            }
            None => {
                let sets = filled().filter(|part| !part.bitmap);
                let longest = sets.clone().map(|part| part.words.len()).max().unwrap_or(0);
                merged.words = vec![0; longest.max(words_for(keys))];
                for part in sets {
                    merged.include_set(&part.words)?;
                }
                for part in filled().filter(|part| part.bitmap) {
                    merged.set_hashes_of(part.numbers()).ok()?;
                }
            }
        }
        Some(merged)
    }

    /// A word of a smaller set stands for several of a larger one: hashes choose words by their
    /// leading bits.
    fn include_set(&mut self, words: &[u64]) -> Option<()> {
        let powers = words.len().is_power_of_two() && self.words.len().is_power_of_two();
        let each = self.words.len() / words.len().max(1);
        if !powers || each == 0 {
            return None; // From a build that makes sets of other sizes.
        }
        for (wide, narrow) in self.words.chunks_mut(each).zip(words) {
            wide.iter_mut().for_each(|word| *word |= narrow);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyCollector;
    use super::*;
    use datafusion::arrow::array::{ArrayRef, Int64Array, StringViewArray};

    fn part(keys: &ArrayRef, parts: usize) -> Arc<KeySummary> {
        let mut collector = KeyCollector::new(&[keys.data_type().clone()], parts);
        collector.add(std::slice::from_ref(keys)).unwrap();
        Arc::new(collector.finish().expect("a summary"))
    }

    fn numbers(keys: impl IntoIterator<Item = i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(keys))
    }

    fn texts(keys: std::ops::Range<i64>) -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(keys.map(|key| format!("key {key}"))))
    }

    fn passing(summary: &KeySummary, keys: &ArrayRef) -> usize {
        summary.test(std::slice::from_ref(keys)).unwrap().true_count()
    }

    #[test]
    fn every_part_passes_and_few_others_do() {
        let sparse =
            |keys: std::ops::Range<i64>| numbers(keys.map(|key| key * 1_000_003 - (1 << 40)));
        let cases: Vec<(&str, Vec<ArrayRef>, ArrayRef)> = vec![
            ("dense", vec![numbers(0..500), numbers(300..900)], numbers(900..9_000)),
            ("texts", vec![texts(0..5_000), texts(5_000..5_100)], texts(6_000..16_000)),
            ("sparse", vec![sparse(0..3_000), sparse(7_000..9_000)], sparse(10_000..20_000)),
            ("two kinds", vec![numbers(0..500), sparse(0..4_000)], sparse(10_000..20_000)),
            ("far apart", vec![numbers(0..500), numbers(1 << 40..(1 << 40) + 9)], sparse(0..9_000)),
            ("one is empty", vec![numbers(0..500), numbers([])], numbers(500..10_000)),
        ];
        for (name, built, strangers) in cases {
            let parts: Vec<_> = built.iter().map(|keys| part(keys, built.len())).collect();
            let merged = KeySummary::merged(&parts).expect(name);
            for keys in &built {
                assert_eq!(passing(&merged, keys), keys.len(), "{name}");
            }
            let wrong = passing(&merged, &strangers);
            assert!(wrong * 10 < strangers.len(), "{name}: {wrong} of {}", strangers.len());
        }
    }

    #[test]
    fn of_nothing_nothing_passes() {
        let nothing = [part(&numbers([]), 2), part(&numbers([]), 2)];
        let merged = KeySummary::merged(&nothing).expect("a summary");
        assert!(merged.is_empty());
        assert_eq!(passing(&merged, &numbers(0..100)), 0);
        assert_eq!(KeySummary::merged(&[]), None);
    }

    #[test]
    fn sizes_of_other_builds_are_refused() {
        let odd = KeySummary { words: vec![1, 2, 3], ..(*part(&texts(0..10), 2)).clone() };
        assert_eq!(KeySummary::merged(&[Arc::new(odd), part(&texts(0..10), 2)]), None);
    }
}
