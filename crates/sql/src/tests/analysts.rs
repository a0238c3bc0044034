//! The queries of `tests/sql/analysts.slt` over tables in memory: a mistake in binding shows here
//! before any process is started. What changes rows in place is left to the cluster.

use super::support::Memory;

const FILE: &str = include_str!("../../../../tests/sql/analysts.slt");

/// Tables that statements change which this database does not know.
const CHANGED: [&str; 2] = ["notes", "labels"];

fn cell(text: &str) -> String {
    match (text, text.parse::<f64>()) {
        ("true", _) => "1".to_owned(),
        ("false", _) => "0".to_owned(),
        ("", _) => "(empty)".to_owned(),
        (_, Ok(number)) => ((number * 1000.0).round() / 1000.0).to_string(),
        (text, Err(_)) => text.to_owned(),
    }
}

fn row(text: &str, separator: &str) -> Vec<String> {
    text.split(separator).map(cell).collect()
}

#[tokio::test]
async fn analysts_queries_bind() {
    let mut memory = Memory::with("").await;
    let (mut wrong, mut right) = (Vec::new(), 0);
    for record in FILE.split("\n\n") {
        let is_text = |line: &&str| !line.starts_with('#') && !line.starts_with("skipif");
        let lines: Vec<&str> = record.lines().filter(is_text).collect();
        let Some((head, body)) = lines.split_first() else { continue };
        let end = body.iter().position(|line| *line == "----").unwrap_or(body.len());
        let sql = body[..end].join("\n");
        let is_drop = sql.starts_with("DROP");
        if is_drop || CHANGED.iter().any(|table| sql.contains(table)) {
            continue;
        }
        let outcome = memory.run(&sql).await;
        if head.starts_with("statement error") {
            match outcome {
                Err(_) => right += 1,
                Ok(_) => wrong.push(format!("{sql}: an error is expected")),
            }
            continue;
        }
        let expected = body.get(end + 1..).unwrap_or_default();
        let expected: Vec<Vec<String>> = expected.iter().map(|line| row(line, "\t")).collect();
        match outcome {
            Ok(rows) => {
                let rows: Vec<Vec<String>> = rows.iter().map(|line| row(line, " | ")).collect();
                match head.starts_with("statement") || rows == expected {
                    true => right += 1,
                    false => wrong.push(format!("{sql}: {rows:?} instead of {expected:?}")),
                }
            }
            Err(error) => wrong.push(format!("{sql}: {error}")),
        }
    }
    assert!(wrong.is_empty() && right > 40, "{right} right\n{}", wrong.join("\n"));
}
