//! The name that was probably meant.

/// `; did you mean 'x'?` when a candidate is near `name`, else nothing.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let nearest = candidates
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= allowed(&lower, candidate) || is_begun(&lower, candidate)
        })
        .min();
    nearest.map(|(_, candidate)| format!("; did you mean '{candidate}'?")).unwrap_or_default()
}

/// A third of the longer name may differ, at least one character.
fn allowed(name: &str, candidate: &str) -> usize {
    (name.chars().count().max(candidate.chars().count()) / 3).max(1)
}

/// Whether `name` is how the candidate begins: a word of it that was taken for the whole.
fn is_begun(name: &str, candidate: &str) -> bool {
    let rest = candidate.to_lowercase().strip_prefix(name).map(str::to_owned);
    name.len() > 2 && rest.is_some_and(|rest| rest.starts_with(['_', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["l_orderkey", "l_quantity", "id", "bloom_filter"];
        for (name, expected) in [
            ("l_ordrekey", "; did you mean 'l_orderkey'?"),
            ("ID", "; did you mean 'id'?"),
            ("nope", ""),
            ("bloom", "; did you mean 'bloom_filter'?"),
        ] {
            assert_eq!(did_you_mean(name, names), expected, "{name}");
        }
    }
}
