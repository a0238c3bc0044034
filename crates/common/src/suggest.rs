//! The name that was probably meant.

/// `; did you mean 'x'?` when a candidate is near `name`, else nothing. Candidates that are `name` but
/// for their case are all named: none of them was meant more than the others.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let is_alike = |candidate: &&str| candidate.eq_ignore_ascii_case(name);
    let mut alike: Vec<&str> = candidates.iter().copied().filter(is_alike).collect();
    alike.sort_unstable();
    alike.dedup();
    if alike.len() > 1 {
        let alike: Vec<String> = alike.iter().map(|name| format!("'{name}'")).collect();
        let alike = alike.join(" and ");
        return format!("; the name is ambiguous: {alike} differ only in case, write one exactly");
    }
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
        let names = ["l_orderkey", "l_quantity", "id", "bloom_filter", "Day", "day"];
        for (name, expected) in [
            ("l_ordrekey", "; did you mean 'l_orderkey'?"),
            ("ID", "; did you mean 'id'?"),
            ("nope", ""),
            (
                "DAY",
                "; the name is ambiguous: 'Day' and 'day' differ only in case, write one exactly",
            ),
            ("bloom", "; did you mean 'bloom_filter'?"),
        ] {
            assert_eq!(did_you_mean(name, names), expected, "{name}");
        }
    }
}
