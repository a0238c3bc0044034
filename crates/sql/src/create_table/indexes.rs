//! Skip indexes: `INDEX name expression TYPE kind GRANULARITY n`.

use arrow::datatypes::DataType;
use datafusion::logical_expr::ExprSchemable;
use granary_catalog::{BoundIndex, Column, IndexKind, SkipIndex, TableOptions};
use granary_common::{Error, Result, did_you_mean};
use sqlparser::ast::Expr;

use super::TableSource;
use super::keys::check_deterministic;
use crate::Notice;
use crate::bind::bind_expression;
use crate::error::error_from_datafusion;
use crate::statement::{IndexClause, parse_expression};
use crate::ttl::{schema_of, settled};

/// Kinds that have an effect, and those of ClickHouse that have none here.
const KINDS: [&str; 8] =
    ["minmax", "set", "bloom_filter", "ngrambf_v1", "tokenbf_v1", "text", "full_text", "inverted"];
const WITHOUT_EFFECT: [&str; 1] = ["hypothesis"];

/// Bytes of a filter at most.
const FILTER_BYTES_MAX: u64 = 16 << 20;

/// Adds an index whose name is new, whose kind exists and whose expression binds.
///
/// # Errors
/// AlreadyExists for a name that is taken, InvalidInput for everything else that does not fit.
pub(crate) fn add_index(
    options: &mut TableOptions,
    index: &IndexClause,
    columns: &[Column],
    source: TableSource<'_>,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let name = &index.name;
    if options.indexes.iter().any(|known| known.name == *name) {
        return Err(Error::already_exists(format!("index '{name}' already exists")));
    }
    if index.granularity == 0 {
        return Err(Error::invalid(format!("index '{name}': GRANULARITY is 1 at least")));
    }
    let mut added = SkipIndex {
        name: name.clone(),
        expression: index.expression.to_string(),
        kind: index.kind.clone(),
        granularity: index.granularity,
        bound: None,
    };
    added.bound = bind_index(&added, columns, source)?;
    if added.bound.is_none() {
        notices.push(Notice::new(format!(
            "index '{name}': TYPE {} over {} has no effect; parts keep the least and the greatest \
             value of every column for each granule anyway",
            index.kind, index.expression
        )));
    }
    options.indexes.push(added);
    Ok(())
}

/// The index as workers make it; `None` for one that has no effect.
///
/// # Errors
/// InvalidInput for an unknown kind, wrong arguments, and an expression that does not bind.
pub(crate) fn bind_index(
    index: &SkipIndex,
    columns: &[Column],
    source: TableSource<'_>,
) -> Result<Option<BoundIndex>> {
    let within = |error: Error| error.context(format!("index '{}'", index.name));
    let schema = schema_of(columns)?;
    let expression = parse_expression(&index.expression)?;
    let expressions = match &expression {
        Expr::Tuple(expressions) => expressions.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut bound = Vec::with_capacity(expressions.len());
    for one in expressions {
        bound.push(bind_expression(source.state, one, &schema).map_err(within)?);
    }
    let Some(kind) = kind_of(&index.kind).map_err(within)? else { return Ok(None) };
    let Some(only) = bound.pop().filter(|_| bound.is_empty()) else { return Ok(None) };
    check_deterministic(&only).map_err(within)?;
    if only.column_refs().is_empty() {
        return Err(within(Error::invalid("the expression refers to no column")));
    }
    let (_, field) = only.to_field(&schema).map_err(|error| error_from_datafusion(error, None))?;
    if !fits(&kind, field.data_type()) {
        return Ok(None);
    }
    let expression = settled(only, &schema, columns, source.state).map_err(within)?;
    Ok(Some(BoundIndex { expression, kind, granularity: index.granularity }))
}

/// Whether the index can keep values of the type.
fn fits(kind: &IndexKind, data_type: &DataType) -> bool {
    let is_text =
        |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match kind {
        IndexKind::Ngrams { .. } | IndexKind::Tokens { .. } => is_text(data_type),
        IndexKind::Words => match data_type {
            DataType::List(element) | DataType::LargeList(element) => is_text(element.data_type()),
            other => is_text(other),
        },
        _ => !data_type.is_nested() && !matches!(data_type, DataType::Interval(_)),
    }
}

/// Whether a full-text index is of words, or of what words can stand for. ClickHouse has pieces of `n`
/// characters as well, as `inverted(n)` or by a tokenizer.
fn cuts_words(arguments: &[&str]) -> bool {
    let cuts = |argument: &&str| {
        let tokenizer = argument.split_once('=').filter(|(name, _)| name.trim() == "tokenizer");
        match tokenizer {
            Some((_, tokenizer)) => {
                let tokenizer = tokenizer.trim().trim_matches('\'');
                ["default", "splitByNonAlpha", "array"].contains(&tokenizer)
            }
            None => *argument == "0",
        }
    };
    arguments.len() <= 1 && arguments.iter().all(cuts)
}

/// The kind of a text such as `bloom_filter(0.01)`; `None` for one without effect.
fn kind_of(text: &str) -> Result<Option<IndexKind>> {
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
        None => (text, ""),
    };
    let arguments: Vec<&str> =
        arguments.split(',').map(str::trim).filter(|argument| !argument.is_empty()).collect();
    let name = name.trim().to_ascii_lowercase();
    let number = |at: usize, max: u64| -> Result<u64> {
        let text = arguments.get(at).copied().unwrap_or_default();
        text.parse()
            .ok()
            .filter(|number| *number <= max)
            .ok_or_else(|| Error::invalid(format!("{name}: '{text}' is not a number up to {max}")))
    };
    let takes = |counts: &[usize]| match counts.contains(&arguments.len()) {
        true => Ok(()),
        false => Err(Error::invalid(format!("{name} takes {counts:?} arguments"))),
    };
    Ok(Some(match name.as_str() {
        "minmax" => {
            takes(&[0])?;
            IndexKind::MinMax
        }
        "set" => {
            takes(&[1])?;
            IndexKind::Set { values_max: number(0, u64::MAX)? }
        }
        "bloom_filter" => {
            takes(&[0, 1])?;
            let rate = match arguments.first() {
                None => 0.025,
                Some(text) => match text.parse::<f64>() {
                    Ok(rate) if rate > 0.0 && rate < 1.0 => rate,
                    _ => {
                        return Err(Error::invalid(format!(
                            "bloom_filter: '{text}' is no rate between 0 and 1"
                        )));
                    }
                },
            };
            IndexKind::Bloom { false_per_million: ((rate * 1e6) as u32).clamp(1, 999_999) }
        }
        "ngrambf_v1" => {
            takes(&[4])?;
            IndexKind::Ngrams {
                length: number(0, 64)?.max(1) as u32,
                bytes: number(1, FILTER_BYTES_MAX)?.max(1) as u32,
                hashes: number(2, 32)?.max(1) as u32,
                seed: number(3, u64::MAX)?,
            }
        }
        "tokenbf_v1" => {
            takes(&[3])?;
            IndexKind::Tokens {
                bytes: number(0, FILTER_BYTES_MAX)?.max(1) as u32,
                hashes: number(1, 32)?.max(1) as u32,
                seed: number(2, u64::MAX)?,
            }
        }
        "text" | "full_text" | "inverted" if cuts_words(&arguments) => IndexKind::Words,
        "text" | "full_text" | "inverted" => return Ok(None),
        other if WITHOUT_EFFECT.contains(&other) => return Ok(None),
        other => {
            let hint = did_you_mean(other, KINDS.into_iter().chain(WITHOUT_EFFECT));
            return Err(Error::invalid(format!("unknown type '{other}'{hint}")));
        }
    }))
}
