"""Granary, ClickHouse and DuckDB on one machine, in one run.

__main__   the command line and the order of the steps
data/      TPC-H and the ClickBench-shaped table, as Parquet files
engines/   one adapter an engine: load, run, size, processes
child      one process an engine; adapters live there and nowhere else
rounds     who runs which query when; all engines run a query in the same round
answers    do the engines agree?
report     text, JSON
plot       PNG
"""
