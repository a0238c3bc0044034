"""Reads DataFusion's .slt files: their records, and by which rules some of them are not run."""

import re
from dataclasses import dataclass, field

# Statements about DataFusion itself: its plans, types, settings, files and functions of the user's own.
OWN_STATEMENTS = re.compile(
    r"(EXPLAIN|DESCRIBE|DESC|SET|RESET|SHOW|COPY|CREATE\s+(OR\s+REPLACE\s+)?(UNBOUNDED\s+)?EXTERNAL|"
    r"CREATE\s+(OR\s+REPLACE\s+)?FUNCTION|DROP\s+FUNCTION)\b", re.IGNORECASE)
# What names DataFusion's types, settings, catalogs and files, wherever it stands.
OWN_WORDS = re.compile(
    r"\b(arrow_\w+|datafusion|information_schema|input_file_name|file_row_index|parquet_metadata|"
    r"metadata_cache|statistics_cache|list_files_cache|with_metadata|cast_to_type|try_cast_to_type|union_tag|"
    r"union_extract)\b"
    r"|'[^']*\.(parquet|csv|avro|arrow|json|ndjson)'|\btest_files/|\.\./testing", re.IGNORECASE)
# Settings that change what later statements mean, with the values that they have at first.
MEANINGFUL = {
    "datafusion.execution.time_zone": ("", "+00:00", "utc"),
    "datafusion.sql_parser.dialect": ("generic",),
    "datafusion.sql_parser.parse_float_as_decimal": ("false",),
    "datafusion.sql_parser.enable_ident_normalization": ("true",),
    "datafusion.sql_parser.default_null_ordering": ("nulls_max",),
    "datafusion.sql_parser.map_string_types_to_utf8view": ("true",),
    "datafusion.catalog.default_schema": ("public",),
    "datafusion.catalog.default_catalog": ("datafusion",),
}
# Tables that the corpus' own runner makes without SQL.
MADE_BY_RUNNER = {
    "table_with_many_types", "table_with_map", "strict_schema", "table_with_metadata", "union_table",
    "approx_distinct_union_table", "dictionary_struct", "range_partitioned", "simple_avro", "alltypes_plain",
    "single_nan", "t1_partition",
}
CREATES = re.compile(
    r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:UNBOUNDED\s+)?(?:EXTERNAL\s+|TEMPORARY\s+|TEMP\s+)?(?:TABLE|VIEW)\s+"
    r"(?:IF\s+NOT\s+EXISTS\s+)?([\w.\"]+)", re.IGNORECASE)
SETS = re.compile(r"\s*SET\s+(?:VARIABLE\s+)?([\w.]+)\s*(?:=|TO)\s*(.*)$", re.IGNORECASE | re.DOTALL)
RESETS = re.compile(r"\s*RESET\s+([\w.]+)", re.IGNORECASE)


@dataclass
class Record:
    """A statement or query with what is expected of it."""

    file: str
    line: int
    sql: str
    #: Types of the columns, a letter each; None for a statement.
    types: str | None = None
    is_sorted: bool = False
    #: Whether it must be refused.
    is_error: bool = False
    #: Rows that it must change, where the file says so.
    count: int | None = None
    rows: list = field(default_factory=list)
    #: Why it is not run by what stands above it.
    skipped: str | None = None


def records(path, root):
    """The records of a file, those of included files in their places."""
    lines = path.read_text().splitlines()
    name = str(path.relative_to(root))
    place, other_engine = 0, False
    while place < len(lines):
        words = lines[place].split()
        first = place
        place += 1
        match words[:2]:
            case ["include", included]:
                for found in sorted(path.parent.glob(included)):
                    yield from records(found, root)
            case ["halt", *_]:
                return
            case ["onlyif", engine]:
                other_engine |= engine.lower() != "datafusion"
            case ["skipif", engine]:
                other_engine |= engine.lower() == "datafusion"
            case ["statement" | "query", *_]:
                record, place = body(lines, place, Record(name, first + 1, ""), words)
                if other_engine:
                    record.skipped = "for another engine"
                other_engine = False
                yield record


def body(lines, place, record, words):
    """The statement and the expectation behind a record's first line; gives the line that follows."""
    start = place
    while place < len(lines) and lines[place].strip() and lines[place].strip() != "----":
        place += 1
    record.sql = "\n".join(lines[start:place]).strip().rstrip(";").rstrip()
    record.is_error = len(words) > 1 and words[1] == "error"
    if words[0] == "query" and not record.is_error:
        record.types = words[1] if len(words) > 1 else ""
        record.is_sorted = "rowsort" in words[2:] or "valuesort" in words[2:]
    if words[:2] == ["statement", "count"]:
        record.count = int(words[2])
    if place < len(lines) and lines[place].strip() == "----":
        start = place + 1
        place = start
        # A message ends with two empty lines, rows with one.
        while place < len(lines) and (lines[place].strip() or (
                record.is_error and place + 1 < len(lines) and lines[place + 1].strip())):
            place += 1
        record.rows = lines[start:place]
    return record, place


def asks_for_order(sql):
    """Whether the query itself, and not one within brackets, has ORDER BY."""
    before = None
    while sql != before:
        before, sql = sql, re.sub(r"\([^()]*\)", " ", sql)
    return re.search(r"\border\s+by\b", sql, re.IGNORECASE) is not None


class Rules:
    """Says of each record of a file, in order, why it is not run; nothing for those that are.

    A table that a statement that is not run would have made is not there: statements that name it are
    not run either, and so on.
    """

    def __init__(self):
        self.missing = set(MADE_BY_RUNNER)
        self.changed = set()

    def reason(self, record):
        sql = re.sub(r"--[^\n]*|/\*.*?\*/", " ", record.sql, flags=re.DOTALL).strip()
        self.follow_settings(sql)
        why = record.skipped or self.why(sql, record)
        made = CREATES.match(sql)
        if made and not record.is_error:
            name = made.group(1).replace('"', "").lower()
            self.missing.discard(name)
            if why:
                self.missing.add(name)
        return why

    def follow_settings(self, sql):
        if found := SETS.match(sql):
            name, value = found.group(1).lower(), found.group(2).strip().strip("'\"").lower()
            if name in MEANINGFUL:
                is_first = value in MEANINGFUL[name]
                (self.changed.discard if is_first else self.changed.add)(name)
        elif found := RESETS.match(sql):
            self.changed.discard(found.group(1).lower())

    def why(self, sql, record):
        if OWN_STATEMENTS.match(sql):
            return "statement of DataFusion's own"
        if OWN_WORDS.search(sql):
            return "names DataFusion's types, settings or files"
        if any("values hashing to" in row for row in record.rows):
            return "rows as a hash"
        if any("<slt:ignore>" in row for row in record.rows):
            return "rows that vary"
        if self.changed:
            return "after SET " + min(self.changed)
        words = {word.lower() for word in re.findall(r"\w+(?:\.\w+)?", sql)}
        words |= {part for word in words for part in word.split(".")}
        if words & self.missing:
            return "reads a table that is not there"
        return None
