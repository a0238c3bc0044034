//! The dialect from text to rows, in memory: statements, tables, inserts and queries.

mod alter;
mod analysts;
mod answers;
mod bounds;
mod clauses;
mod dialects;
mod engines;
mod functions;
mod fuzz;
mod indexes;
mod inserts;
mod mutations;
mod projections;
mod queries;
mod reference;
mod seed;
mod sql_functions;
mod statements;
mod states;
mod support;
mod tables;
mod tpch;
mod ttl;
mod views;
