//! The words and the pieces of texts, and which of them a text must have to be like a pattern.

/// Whether a character belongs to a word: what `splitByNonAlpha` does not split at, which
/// `hasToken` is made of.
fn is_of_word(character: char) -> bool {
    !character.is_whitespace() && !character.is_ascii_punctuation()
}

/// The words of a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character| !is_of_word(character)).filter(|word| !word.is_empty())
}

/// The pieces of `length` characters of a text.
pub fn pieces(text: &str, length: usize) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let count = starts.len().saturating_sub(length);
    (0..if length == 0 { 0 } else { count }).map(move |at| &text[starts[at]..starts[at + length]])
}

/// A literal run of a LIKE pattern, and whether the text begins or ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub text: String,
    pub is_first: bool,
    pub is_last: bool,
}

/// The literal runs of a pattern with `%`, `_` and `\` before a literal one.
pub fn fragments(pattern: &str) -> Vec<Fragment> {
    let mut found = Vec::new();
    let mut text = String::new();
    let mut is_first = true;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' | '_' => {
                if !text.is_empty() {
                    let text = std::mem::take(&mut text);
                    found.push(Fragment { text, is_first, is_last: false });
                }
                is_first = false;
            }
            // One at the end stands for itself.
            '\\' => text.push(characters.next().unwrap_or('\\')),
            other => text.push(other),
        }
    }
    if !text.is_empty() {
        found.push(Fragment { text, is_first, is_last: true });
    }
    found
}

/// The words that a text must have if it has the run: those that are not cut by its ends.
pub fn whole_words(fragment: &Fragment) -> Vec<&str> {
    let text = fragment.text.as_str();
    let begins_within = !fragment.is_first && text.chars().next().is_some_and(is_of_word);
    let ends_within = !fragment.is_last && text.chars().next_back().is_some_and(is_of_word);
    let mut found: Vec<&str> = words(text).collect();
    if begins_within && !found.is_empty() {
        found.remove(0);
    }
    // A run that is one cut word has lost it already.
    let only_one_is_cut = begins_within && text.chars().all(is_of_word);
    if ends_within && !only_one_is_cut {
        found.pop();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut() {
        let cut = |text| words(text).collect::<Vec<_>>();
        assert_eq!(cut("GET /a/b?x=1"), ["GET", "a", "b", "x", "1"]);
        assert_eq!(cut("żółw, 龟!"), ["żółw", "龟"]);
        let pieces = |text, length| pieces(text, length).collect::<Vec<_>>();
        assert_eq!(pieces("abcd", 3), ["abc", "bcd"]);
        assert_eq!(pieces("żół", 2), ["żó", "ół"]);
        assert_eq!(pieces("ab", 3), [] as [&str; 0]);
        assert_eq!(pieces("ab", 0), [] as [&str; 0]);
    }

    #[test]
    fn patterns_need_whole_words() {
        for (pattern, expected) in [
            ("%error%", &[][..]),
            ("error%", &[]),
            ("error", &["error"]),
            ("% error %", &["error"]),
            ("%x error y%", &["error"]),
            ("a b%c d", &["a", "d"]),
            ("%_%", &[]),
            ("100\\% sure%", &["100"]),
            ("a\\", &["a"]),
        ] {
            let fragments = fragments(pattern);
            let found: Vec<&str> = fragments.iter().flat_map(whole_words).collect();
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
