"""Files of another writer (pyarrow), over a folder, a web server and an S3 server."""

import datetime
import decimal

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

ROWS = 40_000


def table(first=0, rows=ROWS):
    ids = range(first, first + rows)
    return pa.table({
        "id": pa.array(ids, pa.int64()),
        "name": pa.array([f"name {i % 100}" if i % 7 else None for i in ids]),
        "price": pa.array([decimal.Decimal(i) / 100 for i in ids], pa.decimal128(12, 2)),
        "day": pa.array([datetime.date(2024, 1, 1) + datetime.timedelta(i % 60) for i in ids]),
        "at": pa.array([datetime.datetime(2024, 1, 1, 0, 0, i % 60) for i in ids], pa.timestamp("us")),
        "tags": pa.array([[str(i % 3), "x"] for i in ids]),
        "kind": pa.array([f"k{i % 4}" for i in ids]).dictionary_encode(),
        "raw": pa.array([f"b{i}".encode() for i in ids], pa.binary()),
    })


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def failure(cursor, sql):
    with pytest.raises(Exception) as failed:
        rows(cursor, sql)
    return str(failed.value)


CHECK = ("SELECT count(*), sum(id), count(name), sum(price), max(day), max(at), sum(length(tags)), "
         "count(DISTINCT kind), max(raw) FROM ")


def expected(first=0, count=ROWS):
    ids = range(first, first + count)
    return [(count, sum(ids), sum(1 for i in ids if i % 7), decimal.Decimal(sum(ids)) / 100,
             datetime.date(2024, 2, 29), datetime.datetime(2024, 1, 1, 0, 0, 59), 2 * count, 4,
             max(f"b{i}" for i in ids))]


def test_parquet_and_arrow_files_have_their_own_columns(cursor, folder):
    pq.write_table(table(), folder / "all.parquet", row_group_size=5_000, compression="zstd")
    feather.write_feather(table(), folder / "all.arrow", compression="lz4", chunksize=3_000)
    feather.write_feather(table(), folder / "plain.arrow", compression="uncompressed")
    with pa.OSFile(str(folder / "all.arrows"), "wb") as sink:
        with pa.ipc.new_stream(sink, table().schema) as writer:
            writer.write_table(table(), max_chunksize=1_000)
    for name in ["all.parquet", "all.arrow", "plain.arrow", "all.arrows"]:
        assert rows(cursor, f"{CHECK} file('{name}')") == expected(), name
    for codec in ["snappy", "lz4", "none"]:
        pq.write_table(table(), folder / f"{codec}.parquet", compression=codec)
    assert rows(cursor, "SELECT count(*) FROM file('{snappy,lz4,none}.parquet')") == [(3 * ROWS,)]


def test_row_groups_that_cannot_match_are_not_read(cursor, web):
    served, url = web
    pq.write_table(table(), served / "groups.parquet", row_group_size=2_000)
    length = (served / "groups.parquet").stat().st_size
    from conftest import Ranges

    def read(sql):
        Ranges.requests.clear()
        answer = rows(cursor, sql)
        ranges = [wanted[6:].split("-") for _, wanted in Ranges.requests if wanted]
        return answer, sum(int(end) - int(begin) + 1 for begin, end in ranges)

    answer, all_bytes = read(f"SELECT sum(length(raw)), count(name), sum(id) FROM url('{url}/groups.parquet')")
    assert answer[0][2] == sum(range(ROWS))
    answer, few_bytes = read(f"SELECT sum(length(raw)), count(name), sum(id) FROM url('{url}/groups.parquet') "
                             f"WHERE id BETWEEN 10000 AND 10009")
    assert answer == [(60, 9, sum(range(10000, 10010)))]
    answer, one_column = read(f"SELECT sum(id) FROM url('{url}/groups.parquet')")
    assert answer == [(sum(range(ROWS)),)]
    # The footer is read at every opening.
    assert few_bytes < all_bytes and one_column < all_bytes, (few_bytes, one_column, all_bytes, length)


def test_web_servers(cursor, web):
    served, url = web
    (served / "a b.csv").write_text("id,name\n1,x\n2,y\n")
    for day in (1, 2, 3):
        (served / f"day{day}.ndjson").write_text(f'{{"n": {day}}}\n')
    assert rows(cursor, f"SELECT sum(id) FROM url('{url}/a%20b.csv')") == [(3,)]
    assert rows(cursor, f"SELECT sum(n) FROM url('{url}/day{{1..3}}.ndjson')") == [(6,)]
    assert rows(cursor, f"SELECT sum(n) FROM url('{url}/day1.ndjson?token=secret123', 'JSONEachRow')") == [(1,)]
    error = failure(cursor, f"SELECT * FROM url('{url}/none.csv?token=secret123')")
    assert f"{url}/none.csv" in error and "no such file" in error and "secret123" not in error
    assert "lists no files" in failure(cursor, f"SELECT * FROM url('{url}/*.csv')")
    pq.write_table(table(), served / "whole.parquet")
    assert "whole files only" in failure(cursor, f"SELECT * FROM url('{url}/whole.parquet')")


KEYS = "'the-id', 'the-secret'"


def test_buckets(cursor, s3, folder):
    client, url = s3
    for part in range(6):
        pq.write_table(table(part * 1_000, 1_000), folder / "part.parquet")
        client.upload_file(str(folder / "part.parquet"), "lake", f"year=2024/part-{part}.parquet")
    client.put_object(Bucket="lake", Key="one.csv", Body=b"id,name\n1,x\n2,y\n", ACL="public-read")
    of_lake = f"s3('{url}/lake/year=2024/*.parquet', {KEYS})"
    assert rows(cursor, f"{CHECK} {of_lake}") == expected(0, 6_000)
    assert rows(cursor, f"SELECT count(*) FROM s3('{url}/lake/**/part-{{0,5}}.parquet', {KEYS}, 'Parquet')") == [(2_000,)]
    assert rows(cursor, f"SELECT sum(id) FROM s3('{url}/lake/one.csv', NOSIGN)") == [(3,)]
    cursor.execute("DROP TABLE IF EXISTS outside_lake")
    cursor.execute("CREATE TABLE outside_lake (id Int64, name Nullable(String), price Decimal(12, 2), day Date) "
                   "ENGINE = MergeTree ORDER BY id DISTRIBUTED BY (id) BUCKETS 6")
    cursor.execute(f"INSERT INTO outside_lake SELECT id, name, price, day FROM {of_lake}")
    assert rows(cursor, "SELECT count(*), sum(id), count(name) FROM outside_lake") == [
        (6_000, sum(range(6_000)), expected(0, 6_000)[0][2])]
    joined = rows(cursor, f"SELECT count(*) FROM outside_lake t JOIN {of_lake} f ON t.id = f.id WHERE f.id < 2500")
    assert joined == [(2_500,)]
    plan = "\n".join(line for line, in rows(cursor, f"EXPLAIN SELECT sum(id) FROM {of_lake}"))
    assert "OutsideScanExec" in plan and "files=6" in plan and "the-secret" not in plan
    if "," in __import__("os").environ["GRANARY_TEST_URIS"]:
        assert "DistributedLeafExec" in plan or "Network" in plan, plan


def test_secrets_stay_secret(cursor, s3):
    client, url = s3
    for sql in [
        f"SELECT * FROM s3('{url}/lake/nothing.csv', {KEYS})",
        f"SELECT * FROM s3('{url}/lake/nothing/*.csv', {KEYS})",
        f"SELECT nothing FROM s3('{url}/lake/one.csv', {KEYS})",
        f"SELECT * FROM s3('{url}/lake/one.csv', {KEYS} 7)",
        f"SELECT * FROM s3('{url}/lake/one.csv', {KEYS}, 'Parket')",
        f"SELECT * FROM s3('http://127.0.0.1:1/lake/one.csv', {KEYS})",
    ]:
        error = failure(cursor, sql)
        assert "the-secret" not in error and "the-id" not in error, error
    assert rows(cursor, f"SELECT count(*) FROM s3('{url}/lake/one.csv', {KEYS})") == [(2,)]
    shown = rows(cursor, "SELECT query FROM system.queries WHERE query LIKE '%count(*) FROM s3(%one.csv%'")
    assert shown and all("the-" not in statement for statement, in shown), shown
    described = rows(cursor, f"DESCRIBE TABLE s3('{url}/lake/one.csv', {KEYS})")
    assert [row[0] for row in described] == ["id", "name"], described


def test_torn_files_are_errors(cursor, folder):
    for name, write in [
        ("torn.parquet", lambda path: pq.write_table(table(), path)),
        ("torn.arrow", lambda path: feather.write_feather(table(), path)),
        ("torn.arrows", None),
    ]:
        path = folder / name
        if write is None:
            with pa.OSFile(str(path), "wb") as sink:
                with pa.ipc.new_stream(sink, table().schema) as writer:
                    writer.write_table(table())
        else:
            write(path)
        path.write_bytes(path.read_bytes()[:-1_000])
        assert name in failure(cursor, f"SELECT count(*), max(id) FROM file('{name}')")


def test_files_of_another_schema_are_errors(cursor, folder):
    pq.write_table(pa.table({"id": [1], "v": [1]}), folder / "mixed-0.parquet")
    pq.write_table(pa.table({"id": [2]}), folder / "mixed-1.parquet")
    error = failure(cursor, "SELECT sum(v) FROM file('mixed-*.parquet')")
    assert "mixed-1.parquet" in error and "no column 'v'" in error
    pq.write_table(pa.table({"id": [2], "v": ["x"]}), folder / "mixed-1.parquet")
    error = failure(cursor, "SELECT sum(v) FROM file('mixed-*.parquet')")
    assert "mixed-1.parquet" in error and "'v'" in error
    # What is not asked for does not matter.
    assert rows(cursor, "SELECT sum(id) FROM file('mixed-*.parquet')") == [(3,)]


WRITTEN = ("SELECT number AS id, if(number % 3 = 0, NULL, concat('n,', toString(number))) AS name, "
           "toDate('2024-01-01') + number % 9 AS day FROM numbers(20000) ORDER BY id")


def test_rows_are_written_to_files(cursor, folder, s3):
    client, url = s3
    # JSON has no dates.
    check = "SELECT count(*), sum(id), count(name), max(toDate(day)) FROM "
    whole = [(20_000, sum(range(20_000)), 13_333, datetime.date(2024, 1, 9))]
    for call in ["file('out.parquet')", "file('out/deep.csv.gz', 'CSVWithNames')", "file('out.csv', 'CSVWithNames')",
                 "file('out.ndjson.zst')", f"s3('{url}/lake/out/a.parquet', {KEYS})",
                 f"s3('{url}/lake/out/a.ndjson', {KEYS})"]:
        cursor.execute(f"INSERT INTO FUNCTION {call} {WRITTEN}")
        assert rows(cursor, f"{check} {call}") == whole, call
        assert "is there already" in failure(cursor, f"INSERT INTO FUNCTION {call} {WRITTEN}"), call
    assert pq.read_table(folder / "out.parquet").num_rows == 20_000
    assert (folder / "out.csv").read_text().splitlines()[:3] == [
        "id,name,day", "0,\\N,2024-01-01", '1,"n,1",2024-01-02']
    for sql, complaint in [
        ("INSERT INTO FUNCTION file('../out.csv') SELECT 1 AS a", "leads out"),
        ("INSERT INTO FUNCTION file('out*.csv') SELECT 1 AS a", "not a pattern"),
        ("INSERT INTO FUNCTION file('out.arrow') SELECT 1 AS a", "is only read"),
        (f"INSERT INTO FUNCTION url('{url}/a.csv') SELECT 1 AS a", "only read"),
        ("INSERT INTO FUNCTION numbers(3) SELECT 1 AS a", "not written to"),
    ]:
        assert complaint in failure(cursor, sql), sql


def test_a_file_that_fails_is_not_there(cursor, folder):
    failure(cursor, "INSERT INTO FUNCTION file('broken.csv') "
                    "SELECT toInt64(concat(if(number < 50000, '1', 'x'), '2')) AS a FROM numbers(60000)")
    assert not list(folder.glob("broken*"))
