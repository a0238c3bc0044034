//! Bounds that stay small: long texts and bytes are cut so that no value falls outside.

use granary_catalog::{KeyRange, Scalar};

/// Characters of a text that bounds keep. Characters and not bytes, so that cutting keeps the order
/// of texts.
pub const BOUND_CHARS_MAX: usize = 24;
/// Bytes of a byte string that bounds keep.
pub const BOUND_BYTES_MAX: usize = 24;

/// A short value that is not above `value`. Of two values, the lower one never gets the higher
/// bound.
pub fn lower_bound(value: &Scalar) -> Scalar {
    match value {
        Scalar::Text(text) => Scalar::Text(cut_text(text).to_owned()),
        Scalar::Bytes(bytes) => Scalar::Bytes(bytes[..bytes.len().min(BOUND_BYTES_MAX)].to_vec()),
        small => small.clone(),
    }
}

/// Whether a bound that [`lower_bound`] gave is the value itself; else it may be the beginning of it.
pub fn is_whole(bound: &Scalar) -> bool {
    match bound {
        Scalar::Text(text) => text.chars().count() < BOUND_CHARS_MAX,
        Scalar::Bytes(bytes) => bytes.len() < BOUND_BYTES_MAX,
        _ => true,
    }
}

/// A short value that is not below `value`; `None` when there is none.
pub fn upper_bound(value: &Scalar) -> Option<Scalar> {
    match value {
        Scalar::Text(text) if cut_text(text).len() < text.len() => {
            text_above(cut_text(text)).map(Scalar::Text)
        }
        Scalar::Bytes(bytes) if bytes.len() > BOUND_BYTES_MAX => {
            bytes_above(&bytes[..BOUND_BYTES_MAX]).map(Scalar::Bytes)
        }
        small => Some(small.clone()),
    }
}

/// The range of keys from `first` to `last` with bounds that stay small.
pub fn key_range(first: Vec<Scalar>, last: Vec<Scalar>) -> KeyRange {
    // A cut bound lies strictly beyond the column's value, so the columns after it do not matter.
    KeyRange {
        min: first.iter().map(lower_bound).collect(),
        max: last.iter().map(upper_bound).collect(),
    }
}

fn cut_text(text: &str) -> &str {
    let end = text.char_indices().nth(BOUND_CHARS_MAX).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

/// The least text that is above every text that begins with `prefix`, if there is one.
pub fn text_above(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        if let Some(next) = next_char(last) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

fn next_char(c: char) -> Option<char> {
    match c {
        char::MAX => None,
        // The code points between these are not characters.
        '\u{d7ff}' => Some('\u{e000}'),
        c => char::from_u32(c as u32 + 1),
    }
}

fn bytes_above(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_values_are_cut() {
        let text = Scalar::Text(format!("{}é tail", "x".repeat(23)));
        assert_eq!(lower_bound(&text), Scalar::Text(format!("{}é", "x".repeat(23))));
        assert_eq!(upper_bound(&text), Some(Scalar::Text(format!("{}ê", "x".repeat(23)))));
        assert_eq!(upper_bound(&Scalar::Bytes(vec![255; 40])), None);
        assert_eq!(upper_bound(&Scalar::Text(char::MAX.to_string().repeat(40))), None);
        assert_eq!(text_above("a\u{d7ff}"), Some("a\u{e000}".to_owned()));
    }

    proptest! {
        #[test]
        fn bounds_enclose(text in "\\PC{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for value in [Scalar::Text(text), Scalar::Bytes(bytes)] {
                prop_assert!(lower_bound(&value) <= value);
                if let Some(above) = upper_bound(&value) {
                    prop_assert!(above >= value);
                }
            }
        }

        #[test]
        fn cutting_keeps_the_order(head in "[a-c😀]{20,26}", a in "\\PC{0,8}", b in "\\PC{0,8}") {
            let mut pair = [format!("{head}{a}"), format!("{head}{b}")].map(Scalar::Text);
            pair.sort();
            prop_assert!(lower_bound(&pair[0]) <= lower_bound(&pair[1]));
        }
    }
}
