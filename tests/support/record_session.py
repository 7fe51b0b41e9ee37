"""Records the terminal session of the README: `uv run python -m tests.support.record_session`.

Replays the sample candles, and writes what `gridflow status` shows in 80 columns between the marks in README.md.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GRIDFLOW = str(Path(sys.executable).with_name("gridflow"))
_MARKS = re.compile(r"<!-- session -->\n.*?<!-- /session -->", re.DOTALL)


def main() -> None:
    """Run a stack for a while, ask it, and write the answer into the README."""
    with tempfile.TemporaryDirectory() as folder:
        state = ["--state", str(Path(folder, "replay"))]
        replay = ["--market", "replay", "--data", "docs/sample-candles", "--speed", "600", "--for", "40"]
        with Path(folder, "up.log").open("w", encoding="utf-8") as log:
            up = subprocess.Popen([GRIDFLOW, "up", *state, *replay], cwd=ROOT, stdout=log, stderr=log)
        try:
            while "First tick" not in (said := Path(folder, "up.log").read_text(encoding="utf-8")):
                if up.poll() is not None:
                    raise SystemExit(said)
                time.sleep(0.5)
            time.sleep(30)
            shown = subprocess.run(
                [GRIDFLOW, "status", *state],
                cwd=ROOT,
                env=os.environ | {"COLUMNS": "80"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        finally:
            up.wait(120)
        subprocess.run([GRIDFLOW, "destroy", *state, "--yes"], cwd=ROOT, check=True)
    write(shown)


def write(shown: str) -> None:
    """Put the session between the marks; lines about this machine are left out."""
    lines = [line.rstrip() for line in shown.splitlines() if not line.startswith("State: ")]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip().replace(f"{ROOT}/", "")
    block = f"<!-- session -->\n```text\n$ gridflow status\n{text}\n```\n<!-- /session -->"
    README.write_text(_MARKS.sub(lambda _: block, README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
