//! Skip indexes: what is bound of them, and which are refused.

use granary_catalog::{IndexKind, SkipIndex};

use super::support::{Memory, only};
use crate::{Notice, Statement};

async fn created(elements: &str) -> granary_common::Result<(Vec<SkipIndex>, Vec<String>)> {
    let sql = format!(
        "CREATE TABLE t (id Int64, s String, a Array(Int8), words Array(String), {elements}) ENGINE = MergeTree ORDER BY id"
    );
    let mut memory = Memory::with("").await;
    let Statement::CreateTable(create) = only(&sql) else { panic!("{sql}") };
    let notices = memory.create(&create)?;
    let indexes = memory.table("t").options.indexes.clone();
    Ok((indexes, notices.iter().map(Notice::to_string).collect()))
}

#[tokio::test]
async fn kinds_are_bound() {
    for (written, expected) in [
        ("id TYPE minmax", Some(IndexKind::MinMax)),
        ("id + 1 TYPE set(100) GRANULARITY 4", Some(IndexKind::Set { values_max: 100 })),
        ("s TYPE bloom_filter", Some(IndexKind::Bloom { false_per_million: 25_000 })),
        ("lower(s) TYPE bloom_filter(0.001)", Some(IndexKind::Bloom { false_per_million: 1_000 })),
        (
            "s TYPE ngrambf_v1(4, 1024, 3, 7)",
            Some(IndexKind::Ngrams { length: 4, bytes: 1024, hashes: 3, seed: 7 }),
        ),
        (
            "s TYPE tokenbf_v1(512, 2, 0)",
            Some(IndexKind::Tokens { bytes: 512, hashes: 2, seed: 0 }),
        ),
        ("s TYPE full_text", Some(IndexKind::Words)),
        ("lower(s) TYPE inverted(0)", Some(IndexKind::Words)),
        ("s TYPE text(tokenizer = 'splitByNonAlpha')", Some(IndexKind::Words)),
        ("s TYPE text(tokenizer = default)", Some(IndexKind::Words)),
        ("words TYPE text(tokenizer = 'array')", Some(IndexKind::Words)),
        ("s TYPE inverted(3)", None),
        ("s TYPE text(tokenizer = ngrams(3))", None),
        ("id TYPE text", None),
        ("a TYPE text", None),
        ("s TYPE hypothesis", None),
        ("id TYPE tokenbf_v1(512, 2, 0)", None),
        ("a TYPE bloom_filter", None),
        ("(id, s) TYPE minmax", None),
    ] {
        let (indexes, notices) = created(&format!("INDEX i {written}"))
            .await
            .unwrap_or_else(|e| panic!("{written}: {e}"));
        let bound = indexes[0].bound.as_ref();
        assert_eq!(bound.map(|bound| bound.kind.clone()), expected, "{written}");
        let told = notices.iter().any(|notice| notice.contains("index 'i'"));
        assert_eq!(told, expected.is_none(), "{written}: {notices:?}");
    }
}

#[tokio::test]
async fn indexes_that_do_not_fit_are_refused() {
    for (written, expected) in [
        ("s TYPE bloom", "did you mean 'bloom_filter'?"),
        ("s TYPE bloom_filter(2)", "no rate between 0 and 1"),
        ("s TYPE set", "set takes [1] arguments"),
        ("s TYPE ngrambf_v1(4)", "ngrambf_v1 takes [4] arguments"),
        ("s TYPE tokenbf_v1(99999999, 2, 0)", "is not a number up to"),
        ("rand() TYPE minmax", "not the same every time"),
        ("nope TYPE minmax", "nope"),
        ("1 TYPE minmax", "refers to no column"),
    ] {
        let error = created(&format!("INDEX i {written}")).await.expect_err(written);
        assert!(error.message().contains(expected), "{written}: {error}");
    }
}
