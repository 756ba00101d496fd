"""The CPU time that is told is that of this process and its children."""

import re
import subprocess
import sys

from bakeoff.execute import spent

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def test_the_time_of_ended_children_counts() -> None:
    before = spent.cpu_seconds()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert spent.cpu_seconds() - before >= 0.5


def test_it_is_said_in_one_line() -> None:
    found = re.fullmatch(
        r"CPU time of this call, all its processes: ([\d.]+) min on (.+), on which .* (\d+) GFLOP/s a core",
        spent.said(),
    )
    assert found and float(found[1]) >= 0 and int(found[3]) > 0
