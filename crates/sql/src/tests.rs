//! The dialect from text to rows, in memory: statements, tables, inserts and queries.

mod alter;
mod clauses;
mod engines;
mod functions;
mod inserts;
mod mutations;
mod queries;
mod seed;
mod statements;
mod states;
mod support;
mod tables;
mod tpch;
mod views;
