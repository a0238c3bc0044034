//! The reference: every example, every name, and the page that is made from it.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::{Array, ArrayRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::support::Memory;
use crate::functions::names;
use granary_functions::{function_reference, function_reference_markdown, text_of};

/// Functions that statements are rewritten to and that nobody calls.
fn is_internal(name: &str) -> bool {
    name.starts_with("__granary")
        // What the engine brings along for its own plans.
        || [
            "get_field", "named_struct", "union_extract", "union_tag", "arrow_field",
            "arrow_metadata", "cast_to_type", "try_cast_to_type", "file_row_index",
            "input_file_name", "with_metadata", "jsonextractas", "jsonextractasnullable",
            "jsonentriesas", "struct",
        ]
        .contains(&name)
}

/// One line for each row; single values as toString shows them, others as clients do.
fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<Vec<String>> = batch.columns().iter().map(column_texts).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<&str> = columns.iter().map(|column| column[row].as_str()).collect();
            lines.push(cells.join(" | "));
        }
    }
    lines
}

fn column_texts(column: &ArrayRef) -> Vec<String> {
    if column.data_type().is_nested() {
        let options =
            FormatOptions::new().with_null("NULL").with_timestamp_format(Some("%Y-%m-%d %H:%M:%S"));
        let formatter = ArrayFormatter::try_new(column, &options).expect("a formatter");
        return (0..column.len()).map(|row| formatter.value(row).to_string()).collect();
    }
    let texts = text_of(column).expect("texts");
    texts.iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
}

#[tokio::test]
async fn every_example_is_true() {
    let memory = Memory::with(
        "CREATE TABLE goods (id UInt64, name String) ENGINE = MergeTree ORDER BY id; \
         INSERT INTO goods VALUES (2, 'pen')",
    )
    .await;
    let mut wrong = Vec::new();
    for entry in function_reference() {
        let sql = match entry.example.starts_with("SELECT ") {
            true => entry.example.clone(),
            false => format!("SELECT {}", entry.example),
        };
        let shown = match memory.batches(&sql).await {
            Ok(batches) => shown(&batches).join("; "),
            Err(error) => format!("error: {error}"),
        };
        if shown != entry.result {
            wrong.push(format!(
                "{}: {sql}\n    gives {shown}\n    not   {}",
                entry.name, entry.result
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_function_has_one_entry() {
    let mut described = BTreeSet::new();
    let mut twice = Vec::new();
    for entry in function_reference() {
        for name in std::iter::once(&entry.name).chain(&entry.aliases) {
            if !described.insert(name.to_lowercase()) {
                twice.push(name.clone());
            }
        }
        assert!(!entry.description.is_empty() && !entry.example.is_empty(), "{}", entry.name);
    }
    // The table function and the array have one name.
    twice.retain(|name| name != "generate_series");
    assert!(twice.is_empty(), "described twice: {twice:?}");
    assert!(described.len() >= 400, "{} names", described.len());
    let known: BTreeSet<String> = names().into_iter().map(|name| name.to_lowercase()).collect();
    let is_combined =
        |name: &str| crate::bind::plain_aggregate(name).is_some_and(|plain| plain != name);
    let missing: Vec<&String> = known
        .iter()
        .filter(|name| !described.contains(*name) && !is_internal(name) && !is_combined(name))
        .collect();
    assert!(missing.is_empty(), "without an entry: {missing:?}");
}

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/functions.md");
    let page = function_reference_markdown();
    if std::env::var_os("GRANARY_BLESS").is_some() {
        std::fs::write(&path, &page).expect("docs/functions.md");
    }
    let written = std::fs::read_to_string(&path).expect("docs/functions.md");
    assert!(
        written == page,
        "docs/functions.md is out of date: run this test with GRANARY_BLESS=1"
    );
}
