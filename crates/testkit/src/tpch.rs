//! TPC-H: tables from the generator, the 22 queries of `tests/tpch/queries`, and the answers that
//! another engine gave (`scripts/tpch-answers`).

use arrow::array::RecordBatch;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

use crate::{SqlClient, TestResult, bulk, format, paths};

/// The eight tables, small ones first.
pub const TABLES: [&str; 8] =
    ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"];

const BATCH_ROWS: usize = 8192;

/// A table's rows at `scale`.
pub fn rows(table: &str, scale: f64) -> TestResult<Vec<RecordBatch>> {
    macro_rules! generate {
        ($generator:ident, $arrow:ident) => {
            $arrow::new($generator::new(scale, 1, 1))
                .with_batch_size(BATCH_ROWS)
                .collect::<Result<Vec<RecordBatch>, _>>()?
        };
    }
    Ok(match table {
        "region" => generate!(RegionGenerator, RegionArrow),
        "nation" => generate!(NationGenerator, NationArrow),
        "supplier" => generate!(SupplierGenerator, SupplierArrow),
        "customer" => generate!(CustomerGenerator, CustomerArrow),
        "part" => generate!(PartGenerator, PartArrow),
        "partsupp" => generate!(PartSuppGenerator, PartSuppArrow),
        "orders" => generate!(OrderGenerator, OrderArrow),
        "lineitem" => generate!(LineItemGenerator, LineItemArrow),
        other => return Err(format!("{other} is no table of TPC-H").into()),
    })
}

/// A table's rows at `scale` in the benchmark's own text form, one call of `line` for each.
pub fn text_rows(table: &str, scale: f64, mut line: impl FnMut(String)) -> TestResult {
    macro_rules! print {
        ($generator:ident) => {
            $generator::new(scale, 1, 1).iter().for_each(|row| line(row.to_string()))
        };
    }
    match table {
        "region" => print!(RegionGenerator),
        "nation" => print!(NationGenerator),
        "supplier" => print!(SupplierGenerator),
        "customer" => print!(CustomerGenerator),
        "part" => print!(PartGenerator),
        "partsupp" => print!(PartSuppGenerator),
        "orders" => print!(OrderGenerator),
        "lineitem" => print!(LineItemGenerator),
        other => return Err(format!("{other} is no table of TPC-H").into()),
    }
    Ok(())
}

/// Creates the tables in the current database and loads them at `scale` through BulkInsert.
pub async fn load(client: &mut SqlClient, url: &str, scale: f64) -> TestResult {
    let statements = std::fs::read_to_string(paths::in_repository("tests/tpch/tables.sql"))?;
    for statement in statements.split(';').map(str::trim).filter(|text| !text.is_empty()) {
        client.update(statement).await.map_err(|error| format!("{statement}\n{error}"))?;
    }
    for table in TABLES {
        let batches = rows(table, scale)?;
        let expected: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let receipt = bulk::insert(url, bulk::header(table, ""), &batches).await?;
        if receipt.rows != expected as u64 {
            return Err(format!("{table}: {} of {expected} rows came in", receipt.rows).into());
        }
    }
    Ok(())
}

/// Runs query `number` and compares its rows with the stored answer.
pub async fn check_query(client: &mut SqlClient, scale: &str, number: u32) -> TestResult {
    let path = paths::in_repository(&format!("tests/tpch/queries/q{number:02}.sql"));
    let batches = client.query(&std::fs::read_to_string(path)?).await?;
    let got: Vec<Vec<String>> = format::rows(&batches)?;
    let answer = format!("tests/tpch/answers/scale-{scale}/q{number:02}.csv");
    let want = read_answer(&std::fs::read_to_string(paths::in_repository(&answer))?);
    if got.len() != want.len() {
        return Err(format!("{} rows instead of {}", got.len(), want.len()).into());
    }
    for (row, (got, want)) in got.iter().zip(&want).enumerate() {
        let same = got.len() == want.len() && got.iter().zip(want).all(|(g, w)| cell_matches(g, w));
        if !same {
            return Err(format!("row {}: got {got:?}, want {want:?}", row + 1).into());
        }
    }
    Ok(())
}

/// Texts are equal to the letter, numbers to a hundredth or to one part in a million: engines give
/// averages and quotients in different types.
fn cell_matches(got: &str, want: &str) -> bool {
    if got == want || (got == "(empty)" && want.is_empty()) {
        return true;
    }
    match (got.parse::<f64>(), want.parse::<f64>()) {
        (Ok(got), Ok(want)) => (got - want).abs() <= f64::max(0.005, 1e-6 * want.abs()),
        _ => false,
    }
}

/// The rows of an answer, without the header. Cells are quoted where they hold commas or quotes;
/// none holds a line break.
fn read_answer(text: &str) -> Vec<Vec<String>> {
    text.lines().skip(1).map(split_line).collect()
}

fn split_line(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let cell = cells.last_mut();
        match (letter, quoted, cell) {
            ('"', true, Some(cell)) if letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            ('"', ..) => quoted = !quoted,
            (',', false, _) => cells.push(String::new()),
            (other, _, Some(cell)) => cell.push(other),
            (_, _, None) => {}
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let rows = read_answer("a,b\n1,\"x, \"\"y\"\"\"\n,2\n");
        assert_eq!(rows, [vec!["1", "x, \"y\""], vec!["", "2"]]);
    }

    #[test]
    fn numbers_may_differ_in_their_digits() {
        for (got, want, expected) in [
            ("25.58", "25.575154611454693", true),
            ("1", "1.00", true),
            ("1.5", "1.6", false),
            ("a", "b", false),
            ("2147483.0001", "2147483.00", true),
        ] {
            assert_eq!(cell_matches(got, want), expected, "{got} {want}");
        }
    }
}
