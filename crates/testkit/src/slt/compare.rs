//! The comparison rules of `tests/acceptance/README.md`.

use sqllogictest::DefaultColumnType;

/// Whether a query gave the golden rows. `golden` has one line for each row, cells separated by
/// tabs; with `rowsort`, both sides are sorted bytewise by line first.
pub(super) fn results(
    types: &[DefaultColumnType],
    rowsort: bool,
    rows: &[Vec<String>],
    golden: &[String],
) -> Result<(), String> {
    if let Some(row) = rows.iter().find(|row| row.len() != types.len()) {
        return Err(format!("{} columns instead of {}", row.len(), types.len()));
    }
    let mut got: Vec<String> = rows.iter().map(|row| row.join("\t")).collect();
    let mut want = golden.to_vec();
    if rowsort {
        got.sort_unstable();
        want.sort_unstable();
    }
    let matches = |(got, want): (&String, &String)| row_matches(types, got, want);
    match got.len() == want.len() && got.iter().zip(&want).all(matches) {
        true => Ok(()),
        false => Err(format!("got\n  {}\nwant\n  {}", got.join("\n  "), want.join("\n  "))),
    }
}

fn row_matches(types: &[DefaultColumnType], got: &str, want: &str) -> bool {
    let (got, want): (Vec<&str>, Vec<&str>) =
        (got.split('\t').collect(), want.split('\t').collect());
    got.len() == want.len()
        && got.iter().zip(&want).enumerate().all(|(place, (got, want))| match types.get(place) {
            Some(DefaultColumnType::FloatingPoint) => number_matches(got, want),
            _ => got == want,
        })
}

/// Golden numbers have at most three decimals: `|got - want| <= max(0.0011, 1e-6 * |want|)`.
fn number_matches(got: &str, want: &str) -> bool {
    match (got.parse::<f64>(), want.parse::<f64>()) {
        (Ok(got), Ok(want)) if got.is_finite() && want.is_finite() => {
            (got - want).abs() <= f64::max(0.0011, 1e-6 * want.abs())
        }
        // NULL; nan and inf, which are written so.
        _ => got.eq_ignore_ascii_case(want),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(types: &str, rowsort: bool, got: &[&[&str]], want: &[&str], expected: bool) {
        let types: Vec<DefaultColumnType> = types
            .chars()
            .map(|letter| match letter {
                'I' => DefaultColumnType::Integer,
                'R' => DefaultColumnType::FloatingPoint,
                _ => DefaultColumnType::Text,
            })
            .collect();
        let rows: Vec<Vec<String>> =
            got.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        let golden: Vec<String> = want.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(results(&types, rowsort, &rows, &golden).is_ok(), expected, "{got:?} {want:?}");
    }

    #[test]
    fn texts_and_integers_are_equal_to_the_letter() {
        check("IT", false, &[&["1", "a b"]], &["1\ta b"], true);
        check("IT", false, &[&["1.0", "a b"]], &["1\ta b"], false);
        check("T", false, &[&["NULL"], &["(empty)"]], &["NULL", "(empty)"], true);
        check("I", false, &[], &[], true);
        check("I", false, &[&["1"]], &[], false);
        check("II", false, &[&["1"]], &["1"], false);
    }

    #[test]
    fn numbers_have_a_tolerance() {
        for (got, want, expected) in [
            ("150", "150.00", true),
            ("0.333333333", "0.333", true),
            ("0.3345", "0.333", false),
            ("1000000000.5", "1000000000", true),
            ("NULL", "NULL", true),
            ("NULL", "0", false),
            ("NaN", "nan", true),
        ] {
            check("R", false, &[&[got]], &[want], expected);
        }
    }

    #[test]
    fn rowsort_ignores_the_order_of_rows() {
        check("IT", true, &[&["2", "b"], &["10", "a"]], &["10\ta", "2\tb"], true);
        check("IT", false, &[&["2", "b"], &["10", "a"]], &["10\ta", "2\tb"], false);
    }
}
