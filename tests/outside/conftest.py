"""Files, a web server and an S3 server for the server or cluster that the caller started."""

import http.server
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import adbc_driver_flightsql.dbapi as flightsql
import pytest

START_SECONDS_MAX = 60


@pytest.fixture(scope="session")
def folder():
    """The folder of user_files_path."""
    return pathlib.Path(os.environ["GRANARY_TEST_FILES"])


@pytest.fixture
def cursor():
    uri = os.environ["GRANARY_TEST_URIS"].split(",")[0]
    options = {"username": "tester", "password": ""}
    with flightsql.connect(uri, db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as opened:
            yield opened


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Python's server of files, which by itself gives whole ones only."""

    requests = []

    def do_GET(self):
        Ranges.requests.append((self.path, self.headers.get("Range")))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        path = pathlib.Path(self.translate_path(self.path))
        if wanted is None or not path.is_file() or "whole" in self.path:
            return super().do_GET()
        data = path.read_bytes()
        begin = int(wanted[1])
        end = min(int(wanted[2] or len(data) - 1), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Length", str(end - begin + 1))
        self.send_header("Content-Range", f"bytes {begin}-{end}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[begin:end + 1])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def web(tmp_path_factory):
    """A folder and the URL of the server that serves it."""
    served = tmp_path_factory.mktemp("web")
    handler = lambda *args: Ranges(*args, directory=str(served))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def s3():
    """A client and the URL of an S3 server in a process of its own."""
    import boto3

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                urllib.request.urlopen(f"{url}/moto-api/", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, "the S3 server has ended"
                assert time.monotonic() < deadline, "the S3 server does not answer"
                time.sleep(0.1)
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1",
                              aws_access_key_id="the-id", aws_secret_access_key="the-secret")
        client.create_bucket(Bucket="lake")
        yield client, url
    finally:
        process.kill()
        process.wait()
