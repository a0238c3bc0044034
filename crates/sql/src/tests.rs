//! The dialect from text to rows, in memory: statements, tables, inserts and queries.

mod alter;
mod clauses;
mod engines;
mod functions;
mod indexes;
mod inserts;
mod mutations;
mod queries;
mod statements;
mod states;
mod support;
mod tables;
mod tpch;
mod ttl;
mod views;
