//! "Did you mean": the known name that is closest to an unknown one.

/// The candidate that `name` most likely meant, when one is close enough to be worth a hint.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_ascii_lowercase().replace('-', "_");
    let distance = |candidate: &str| strsim::damerau_levenshtein(&folded, candidate);
    let limit = (folded.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (distance(&candidate.to_ascii_lowercase()), candidate))
        .min()
        .filter(|(distance, _)| *distance <= limit)
        .map(|(_, candidate)| candidate)
}

/// `hint` as an ending of a sentence, or nothing.
pub(super) fn did_you_mean(hint: Option<String>) -> String {
    hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"))
}
