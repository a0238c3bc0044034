"""TPC-H's tables as Parquet, by tpchgen."""

from __future__ import annotations

import subprocess
from pathlib import Path

TABLES = ("region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem")


def generate(folder: Path, scale: float) -> dict[str, Path]:
    """Writes the tables that are missing and returns their files."""
    target = folder / f"tpch-{scale:g}"
    target.mkdir(parents=True, exist_ok=True)
    done = target / "complete"
    if not done.exists():
        subprocess.run(
            [
                "tpchgen-cli",
                "parquet",
                "--scale-factor",
                f"{scale:g}",
                "--output-dir",
                str(target),
                "--overwrite",
                "--compression",
                "ZSTD(1)",
                "--row-group-bytes",
                "32MB",
            ],
            check=True,
        )
        done.touch()
    return {table: target / f"{table}.parquet" for table in TABLES}
