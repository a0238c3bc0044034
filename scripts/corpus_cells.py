"""Answers as DataFusion's .slt files write them, and whether two of them are alike."""

import decimal
import math
import re
import struct

import pyarrow as pa
import pyarrow.types as kinds

import corpus_records

DECIMALS_MAX = 12
RELATIVE_ERROR_MAX = 1e-9
# A time in UTC; the rows of the file show some without their zone, and `moment` all of them.
UTC = re.compile(r"(T\d\d:\d\d:\d\d(?:\.\d+)?)Z")
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def rows(table, types):
    """The lines of an answer whose columns have these types in the file."""
    columns = []
    for place, column in enumerate(table.columns):
        letter = types[place] if len(types) == table.num_columns else "?"
        columns.append([cell(value, letter) for value in column])
    lines = []
    for row in zip(*columns):
        # A last cell of several lines is shown as one line for each, behind their numbers.
        parts = row[-1].split("\n")
        if len(parts) == 1:
            lines.append(" ".join(row).rstrip())
            continue
        lines.append(" ".join(row[:-1]).rstrip())
        for number, part in enumerate(parts, 1):
            text = part.lstrip()
            lines.append(f"{number:02})" + "-" * (len(part) - len(text)) + text.rstrip())
    return lines


def cell(value, letter):
    """A value by itself. Truths are whole numbers for some functions here."""
    kind = value.type
    if kinds.is_dictionary(kind):
        return cell(value.value, letter) if value.is_valid else "NULL"
    if not value.is_valid or kinds.is_null(kind):
        return "NULL"
    if kinds.is_floating(kind):
        return number(shortest(value), DECIMALS_MAX)
    if kinds.is_decimal(kind):
        return number(str(value.as_py()), None)
    if kinds.is_integer(kind) and letter == "B" and value.as_py() in (0, 1):
        return "true" if value.as_py() else "false"
    text = inner(value)
    if is_text(kind):
        return text.rstrip("\n").replace("\0", "\\0") if text else "(empty)"
    return text


def is_text(kind):
    return kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)


def number(text, decimals_max):
    """A number without exponent and without zeros at the end."""
    if text in ("nan", "inf", "-inf"):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[text]
    found = decimal.Decimal(text)
    with decimal.localcontext() as context:
        context.prec = 400
        if decimals_max is not None:
            found = found.quantize(decimal.Decimal(1).scaleb(-decimals_max))
        shown = format(found.normalize(), "f")
    return "0" if shown in ("-0", "") else shown


def shortest(value):
    """The fewest digits that give the same float again."""
    found = value.as_py()
    if not kinds.is_float32(value.type) or not math.isfinite(found):
        return repr(float(found))
    for digits in range(1, 10):
        text = f"{found:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == found:
            return repr(float(text))
    return repr(found)


def inner(value):
    """A value as it stands inside of another one."""
    kind = value.type
    if not value.is_valid or kinds.is_null(kind):
        return "NULL"
    if kinds.is_dictionary(kind):
        return inner(value.value)
    if kinds.is_boolean(kind):
        return "true" if value.as_py() else "false"
    if kinds.is_floating(kind):
        return {"nan": "NaN"}.get(shortest(value), shortest(value).replace("e+", "e"))
    if kinds.is_decimal(kind):
        return format(value.as_py(), "f")
    if kinds.is_date(kind) or kinds.is_time(kind) or kinds.is_timestamp(kind):
        return moment(value)
    if kinds.is_duration(kind):
        return duration(value.cast(pa.int64()).as_py(), PER_SECOND[kind.unit])
    if kinds.is_interval(kind):
        return interval(*value.as_py())
    if kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind):
        return value.as_py().hex()
    if kinds.is_map(kind):
        pairs = value.values
        keys, items = pairs.field(0), pairs.field(1)
        return "{" + ", ".join(f"{inner(k)}: {inner(v)}" for k, v in zip(keys, items)) + "}"
    if kinds.is_nested(kind) and not kinds.is_struct(kind):
        return "[" + ", ".join(inner(item) for item in value.values) + "]"
    if kinds.is_struct(kind):
        names = [kind.field(place).name for place in range(kind.num_fields)]
        return "{" + ", ".join(f"{name}: {inner(value[place])}" for place, name in enumerate(names)) + "}"
    return str(value.as_py())


def moment(value):
    kind = value.type
    if kinds.is_date(kind):
        days = value.cast(pa.date32()).cast(pa.int32()).as_py()
        return day(days)
    if kinds.is_time(kind):
        wide = pa.int32() if kinds.is_time32(kind) else pa.int64()
        return clock(value.cast(wide).as_py(), PER_SECOND[kind.unit])
    per_day = 86_400 * PER_SECOND[kind.unit]
    days, rest = divmod(value.cast(pa.int64()).as_py(), per_day)
    # The zone is not shown: here every time has one.
    return day(days) + "T" + clock(rest, PER_SECOND[kind.unit])


def day(days):
    """The civil date of a day since 1970, also of years that Python has no dates for."""
    days += 719_468
    era, of_era = divmod(days, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    number = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (month <= 2)
    shown = f"{year:04}" if 0 <= year <= 9999 else f"{year:+05}"
    return f"{shown}-{month:02}-{number:02}"


def clock(count, per_second):
    seconds, rest = divmod(count, per_second)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if not rest:
        return text
    nanos = f"{rest * (1_000_000_000 // per_second):09}"
    digits = 3 if nanos.endswith("000000") else 6 if nanos.endswith("000") else 9
    return f"{text}.{nanos[:digits]}"


def duration(count, per_second):
    sign = "-" if count < 0 else ""
    seconds, rest = divmod(abs(count), per_second)
    digits = len(str(per_second)) - 1
    fraction = f".{rest:0{digits}}" if digits else ""
    parts = [seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60]
    words = [f"{sign if part else ''}{part}" for part in parts]
    return f"{words[0]} days {words[1]} hours {words[2]} mins {words[3]}{fraction} secs"


def interval(months, days, nanos):
    parts = []
    if months:
        parts.append(f"{months} mons")
    if days:
        parts.append(f"{days} days")
    sign = -1 if nanos < 0 else 1
    seconds, rest = divmod(abs(nanos), 1_000_000_000)
    for count, unit in [(seconds // 3600, "hours"), (seconds // 60 % 60, "mins")]:
        if count:
            parts.append(f"{sign * count} {unit}")
    if seconds % 60 or rest or not parts:
        parts.append(f"{'-' if sign < 0 else ''}{seconds % 60}.{rest:09} secs")
    return " ".join(parts)


def are_alike(ours, record):
    """Whether the lines are the record's, up to the last digits of floats, and in any order where the
    query asks for none."""
    theirs = [UTC.sub(r"\1", line.rstrip()) for line in record.rows]
    is_ordered = not record.is_sorted and corpus_records.asks_for_order(record.sql)
    return (not record.is_sorted and are_close(ours, theirs, record)) or (
        not is_ordered and are_close(sorted(ours), sorted(theirs), record))


def are_close(ours, theirs, record):
    return len(ours) == len(theirs) and all(
        own == other or ("R" in record.types and is_close(own, other))
        for own, other in zip(ours, theirs))


def is_close(own, other):
    left, right = own.split(), other.split()
    return len(left) == len(right) and all(
        a == b or same_number(a, b) for a, b in zip(left, right))


def same_number(a, b):
    try:
        return math.isclose(float(a), float(b), rel_tol=RELATIVE_ERROR_MAX)
    except ValueError:
        return False
