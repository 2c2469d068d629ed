"""What reaches a person and what goes to the log."""

import re
import subprocess
import sys


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_noise_goes_to_the_log_and_people_are_still_written_to(tmp_path):
    log = tmp_path / "log"
    result = _run(f"""
import os, subprocess, sys
from arcface_common.console import noise_to, say
with noise_to({str(log)!r}):
    os.write(2, b"from below\\n")
    print("a warning", file=sys.stderr)
    subprocess.run(["sh", "-c", "echo from a child >&2"])
    say("for people")
print("after", file=sys.stderr)
""")
    assert result.stderr == "for people\nafter\n"
    assert log.read_text() == "from below\na warning\nfrom a child\n"


def test_a_child_process_writes_to_the_same_console(tmp_path):
    result = _run(f"""
import os, subprocess, sys
from arcface_common.console import CONSOLE_FD, noise_to
with noise_to({str(tmp_path / "log")!r}):
    child = "from arcface_common.console import say; say('from a worker')"
    subprocess.run([sys.executable, "-c", child], pass_fds=[int(os.environ[CONSOLE_FD])], check=True)
""")
    assert result.stderr == "from a worker\n"


def test_a_run_outlives_whoever_reads_its_words(tmp_path):
    code = f"""
import sys, time
from arcface_common import console
console._SECONDS_BETWEEN_LINES = 0.05
with console.noise_to({str(tmp_path / "log")!r}):
    console.say("first")
    sys.stdin.readline()  # until nobody reads
    console.say("second")
    for _ in console.progress(range(4), description="work", unit="img"):
        time.sleep(0.06)
    with console.waiting("third"):
        pass
print("done")
"""
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with started as process:
        assert process.stderr.readline() == "first\n"
        process.stderr.close()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.read() == "done\n"
    assert process.returncode == 0


def test_progress_is_lines_where_there_is_no_terminal():
    result = _run("""
import time
from arcface_common import console
console._SECONDS_BETWEEN_LINES = 0.05
for _ in console.progress(range(4), description="work", unit="img"):
    time.sleep(0.06)
""")
    assert "\r" not in result.stderr
    lines = result.stderr.rstrip().splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("work:") and "img" in line for line in lines)


def test_a_bar_foretells_nothing_by_the_time_of_its_first_units():
    result = _run("""
import time
from arcface_common import console
console._SECONDS_BETWEEN_LINES = 0.3
bar = console.progress(total=1000, description="work", unit="img")
time.sleep(2)
console.begun_anew(bar, 10)
for _ in range(5):
    time.sleep(0.1)
    bar.update(10)
bar.close()
""")
    first = result.stderr.splitlines()[0]
    assert re.search(r"\| (40|50)/1000 \[", first), first
    assert 80 < float(re.search(r"([\d.]+) img/s", first)[1]) < 101  # 15 to 24 with the 2 seconds


def test_what_cannot_be_counted_says_that_it_goes_on():
    result = _run("""
import time
from arcface_common import console
console._SECONDS_BETWEEN_SIGNS = 0.4
with console.waiting("loading"):
    time.sleep(1.0)
time.sleep(0.6)
""")
    first, *others = result.stderr.splitlines()
    assert first == "loading"
    assert len(others) == 2 and all(re.fullmatch(r"loading: \d s so far", line) for line in others)


def test_no_line_is_written_twice_by_the_thread_that_watches_bars():
    """With more than one unit a line, tqdm's thread adds a line where the last one is 10 s old: beside one just due."""
    result = _run("""
import time
from tqdm import tqdm
from arcface_common import console
console._SECONDS_BETWEEN_LINES = 1.0
tqdm.monitor_interval = 0.02
bar = console.progress(total=10**6, description="work", unit="img")
bar.maxinterval = 1.0
start = time.perf_counter()
while time.perf_counter() - start < 5:
    bar.update(64)
    time.sleep(0.09)  # a step, beside which the clock passes 1.0 s
""")
    assert 2 <= len(result.stderr.splitlines()) <= 5, result.stderr


def test_importing_the_base_modules_costs_no_tensorflow():
    code = "import sys; import arcface_common.features, arcface_common.console; print('tensorflow' in sys.modules)"
    assert _run(code).stdout == "False\n"


def test_a_line_is_cut_and_shows_no_bytes():
    code = "from arcface_common.console import say; say(f\"error: {bytes(100)!r} {'x' * 20_000}\")"
    line = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert line.startswith("error: b'…' xxx") and len(line) == 5002
