"""The virtual environment of the scripts and tests that are written in Python.

It lies outside of the checkout, in ~/.cache/granary (under $XDG_CACHE_HOME where that is set), and
gets packages from PyPI the first time that somebody needs them.
"""

import fcntl
import os
import pathlib
import subprocess
import sys

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "granary"
VENV = CACHE / "venv"
PYTHON = VENV / "bin" / "python"

# The driver as people use it, and what runs its tests.
DRIVER = ["adbc-driver-flightsql==1.13.0", "adbc-driver-manager==1.13.0", "pyarrow==26.0.1",
          "pytest==9.2.0"]
# A server that speaks S3, with its client and what serves it.
STORES = ["moto==5.2.5", "flask==3.1.3", "flask-cors==6.0.5", "py-partiql-parser==0.6.3",
          "pyyaml==6.0.4"]
# The other engine, and the generator of the version that Cargo.toml names.
GOLDENS = ["duckdb==2.0.0", "tpchgen-cli==4.0.0"]


def enter(packages, venv=VENV):
    """Goes on in a virtual environment, with `packages` installed: runs the script again in it if it
    does not run there yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    python = venv / "bin" / "python"
    with open(CACHE / f"{venv.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install(packages, venv, python)
    if pathlib.Path(sys.prefix).resolve() != venv.resolve():
        os.execv(python, [str(python), *sys.argv])


def install(packages, venv, python):
    if not python.exists():
        print(f"creating a virtual environment in {venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    names = "import importlib.metadata as m; print({d.name.lower().replace('_', '-') + '==' + d.version for d in m.distributions()})"
    present = subprocess.run([python, "-c", names], capture_output=True, text=True, check=True)
    missing = [package for package in packages if repr(package) not in present.stdout]
    if missing:
        print("installing " + ", ".join(missing), file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "-q", *missing], check=True)
