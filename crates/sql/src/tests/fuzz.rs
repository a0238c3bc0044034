//! Statements that nobody would write: characters in no order, and pieces of real statements put together
//! at random, cut, doubled, damaged and nested. Each is parsed, bound and planned, or refused with a message;
//! none panics, hangs, takes much memory or overflows the stack. `GRANARY_FUZZ_CASES`, or
//! `GRANARY_FUZZ_SECONDS`, and `GRANARY_FUZZ_SEED` set how many and which; `scripts/fuzz-sql` sets them.

mod mutations;
mod shapes;
mod sources;

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use granary_common::{Clock, Error, ErrorKind, Result, SystemClock};

use self::mutations::Mutations;
use self::sources::TABLES;
use super::support::Memory;
use crate::{
    Query, Statement, TableName, TableSource, alter_table, bind_insert_source, bind_mutation,
    bind_query, create_table, error_from_datafusion, insert_values, mutated_table, parse,
    resolve_table,
};

const CASES: u64 = 1_500;
/// No statement of these lengths takes nearly as long, also on a machine that does much else.
const LIMIT_MS: u64 = 30_000;
/// What the process holds at most, whatever it was asked. A statement alone takes some megabytes.
const MEMORY_KIB_MAX: u64 = 2 << 20;
const FINDINGS_MAX: usize = 20;

/// Binds and plans a query, as far as it does not run.
async fn plan(memory: &Memory, query: &Query, sql: &str) -> Result<()> {
    let state = memory.state();
    let plan = bind_query(&state, query, sql).await?;
    let planned = state.create_physical_plan(&plan).await;
    planned.map(drop).map_err(|error| error_from_datafusion(error, Some(sql)))
}

async fn bind(memory: &Memory, statement: &Statement, sql: &str) -> Result<()> {
    let state = memory.state();
    let table = |name: &TableName| resolve_table(&memory.snapshot, "default", name);
    let source = TableSource {
        snapshot: &memory.snapshot,
        current_database: "default",
        settings: memory.settings,
        state: &state,
        query_columns: &[],
    };
    match statement {
        Statement::Query(query) | Statement::Explain { query, .. } => {
            plan(memory, query, sql).await
        }
        Statement::Insert(insert) => {
            let table = table(&insert.table)?;
            match insert_values(insert, &table, &state)? {
                Some(_) => Ok(()),
                None => bind_insert_source(&state, &insert.source, sql).await.map(drop),
            }
        }
        Statement::CreateTable(create) => {
            if let Some(query) = &create.query {
                plan(memory, query, sql).await?;
            }
            create_table(create, source).map(drop)
        }
        Statement::AlterTable(alter) => {
            let table = table(&alter.table)?;
            alter_table(alter, &table, super::alter::source_of(source)).map(drop)
        }
        other => match mutated_table(other) {
            Some(name) => {
                let table = table(name)?;
                bind_mutation(&state, other, &table, sql).await.map(drop)
            }
            None => Ok(()),
        },
    }
}

/// Writes the statement that comes next where `GRANARY_FUZZ_LAST` says: of one that ends the process
/// nothing else is left.
fn note(sql: &str) {
    if let Ok(path) = std::env::var("GRANARY_FUZZ_LAST") {
        std::fs::write(path, sql).expect("a file that can be written");
    }
}

/// The most memory that the process has held, in KiB; nothing where the system does not say.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Parses, binds and plans; says what is wrong with how that went. An error of kind Internal is one that
/// nobody thought of.
async fn check(memory: &Memory, sql: &str) -> std::result::Result<(), String> {
    note(sql);
    let clock = SystemClock;
    let (started, held) = (clock.monotonic_ms(), peak_kib());
    let bound = AssertUnwindSafe(async {
        for statement in parse(sql)? {
            bind(memory, &statement, sql).await?;
        }
        Ok::<(), Error>(())
    });
    let outcome = bound.catch_unwind().await;
    let took_ms = clock.monotonic_ms() - started;
    let why = match outcome {
        Err(_) => "it panics".to_owned(),
        Ok(Err(error)) if error.kind() == ErrorKind::Internal => error.to_string(),
        _ if took_ms > LIMIT_MS => format!("it took {took_ms} ms"),
        _ if peak_kib() > held && peak_kib() > Some(MEMORY_KIB_MAX) => {
            format!("the process held {} KiB", peak_kib().unwrap_or_default())
        }
        _ => return Ok(()),
    };
    Err(format!("{why}\n  {sql}"))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test]
async fn no_statement_panics_or_hangs() {
    let memory = Memory::with(TABLES).await;
    let mutations = Mutations::new(number("GRANARY_FUZZ_SEED").unwrap_or(1));
    let clock = SystemClock;
    let started = clock.monotonic_ms();
    let lasts_ms = number("GRANARY_FUZZ_SECONDS").map(|seconds| seconds * 1_000);
    let cases = number("GRANARY_FUZZ_CASES").unwrap_or(CASES);
    let (mut count, mut findings) = (0, Vec::new());
    let goes_on = |count: u64| match lasts_ms {
        Some(lasts_ms) => clock.monotonic_ms() - started < lasts_ms,
        None => count < cases,
    };
    while goes_on(count) && findings.len() < FINDINGS_MAX {
        findings.extend(check(&memory, &mutations.statement()).await.err());
        count += 1;
    }
    println!("{count} statements, at most {} KiB", peak_kib().unwrap_or_default());
    assert!(findings.is_empty(), "{} of {count}:\n{}", findings.len(), findings.join("\n"));
}
