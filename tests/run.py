#!/usr/bin/python3
"""Run every test and count the cases.

usage: tests/run.py BUILD [--quick] [--only WORD ...]

Runs, in this order: the unit, property and simulation programs; the same built
by clang with the address and undefined-behaviour sanitizers, and the fuzz
corpora; the tests of the agent library under valgrind; the system and document
tests. --quick leaves out the second build and valgrind. The last line is
"N passed, N failed, N skipped".
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
JOBS = min(4, os.cpu_count() or 1)
PROGRAM_DEADLINE_S = 180
PYTEST_DEADLINE_S = 900


class Tally:
    """What has been counted so far, and what failed."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def add(self, passed, failed, skipped):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def fail(self, what, output=""):
        self.failed += 1
        self.failures.append((what, output))


def say(text):
    print(text, flush=True)


def read_tap(output):
    """Cases in TAP output: (passed, failed names, skipped names, planned)."""
    passed, failed, skipped, planned = 0, [], [], None
    for line in output.splitlines():
        plan = re.match(r"1\.\.(\d+)", line)
        case = re.match(r"(not )?ok\b *\d* *-? *(.*)", line)
        if plan:
            planned = (planned or 0) + int(plan.group(1))
        # cmocka says "not ok" of a case that was skipped.
        elif case and re.search(r"#\s*skip", line, re.IGNORECASE):
            skipped.append(case.group(2))
        elif case and case.group(1):
            failed.append(case.group(2))
        elif case:
            passed += 1
    return passed, failed, skipped, planned


def run_program(name, command, extra_env):
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", **extra_env)
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, env=env, timeout=PROGRAM_DEADLINE_S,
            cwd=ROOT)
        return name, done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as late:
        return name, "deadline", (late.stdout or b"").decode(
            "utf-8", "replace")


def run_programs(tally, title, programs, extra_env=None):
    """Run (name, command) pairs side by side; each prints TAP."""
    before, start = (tally.passed, tally.failed, tally.skipped), time.time()
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        jobs = [pool.submit(run_program, name, command, extra_env or {})
                for name, command in programs]
        for job in concurrent.futures.as_completed(jobs):
            name, status, output = job.result()
            passed, failed, skipped, planned = read_tap(output)
            tally.add(passed, 0, len(skipped))
            for case in failed:
                tally.fail(f"{title}: {name}: {case}", output)
            if not failed and status != 0:
                tally.fail(f"{title}: {name}: ended with {status}", output)
            elif not failed and planned != passed + len(skipped):
                tally.fail(f"{title}: {name}: planned {planned} cases, ran "
                           f"{passed + len(skipped)}", output)
            for case in skipped:
                say(f"  skipped: {name}: {case}")
    say(f"{title}: {tally.passed - before[0]} passed, "
        f"{tally.failed - before[1]} failed, "
        f"{tally.skipped - before[2]} skipped, {len(programs)} programs, "
        f"{time.time() - start:.0f} s")


def tests_of(build):
    """The test programs that meson knows: (name, command)."""
    listed = subprocess.run(
        ["meson", "introspect", "--tests", str(build)], check=True,
        stdout=subprocess.PIPE)
    return [(test["name"], test["cmd"]) for test in json.loads(listed.stdout)]


def quietly(tally, what, command, **kwargs):
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, cwd=ROOT, **kwargs)
    if done.returncode != 0:
        tally.fail(what, done.stdout.decode("utf-8", "replace"))
    return done.returncode == 0


def build_sanitized(tally, build):
    if not shutil.which("clang"):
        say("  skipped: no clang: sanitizers and fuzz corpora")
        tally.skipped += 1
        return False
    if not (build / "build.ninja").exists():
        if not quietly(tally, "setting up the clang build", [
                "meson", "setup", str(build), "-Dfuzz=true", "-Dbench=false",
                "-Db_sanitize=address,undefined", "-Db_lundef=false",
                "-Dbuildtype=debug", "-Doptimization=1", "-Dwerror=true"],
                env=dict(os.environ, CC="clang")):
            return False
    return quietly(tally, "the clang build with sanitizers",
                   ["ninja", "-C", str(build)])


def run_fuzz_corpora(tally, build):
    """Every input kept must still be taken without a crash."""
    start, ran = time.time(), 0
    for program in sorted((build / "tests/fuzz").glob("fuzz_*")):
        corpus = ROOT / "tests/fuzz/corpus" / program.name[len("fuzz_"):]
        if not os.access(program, os.X_OK) or program.is_dir():
            continue
        ran += 1
        if not corpus.is_dir():
            tally.fail(f"fuzz corpus: {program.name} has none")
        elif quietly(tally, f"fuzz corpus: {program.name}",
                     [str(program), "-runs=20000", "-max_total_time=5",
                      "-seed=1", "-artifact_prefix=/tmp/varta-fuzz-",
                      tempfile.mkdtemp(prefix="varta-fuzz-"), str(corpus)]):
            tally.passed += 1
    say(f"fuzz corpora: {ran} targets, {time.time() - start:.0f} s")


def run_valgrind(tally, build):
    if not shutil.which("valgrind"):
        say("  skipped: no valgrind")
        tally.skipped += 1
        return
    wanted = ("test_frame", "test_crc32c", "test_agent", "test_error",
              "test_agent_unix", "test_agent_udp", "test_lanes",
              "test_lanes_attach", "test_lanes_cost",
              "test_seal", "test_key", "test_secure_agent",
              "test_secure_crash")
    programs = [
        (name, ["valgrind", "--quiet", "--error-exitcode=99",
                "--leak-check=full", "--errors-for-leak-kinds=definite",
                "--trace-children=no", "--child-silent-after-fork=yes",
                *command])
        for name, command in tests_of(build) if name in wanted]
    run_programs(tally, "agent library under valgrind", programs,
                 {"VARTA_VALGRIND": "1"})


def run_pytest(tally, build, words):
    start = time.time()
    with tempfile.TemporaryDirectory(prefix="varta-") as folder:
        report = pathlib.Path(folder, "report.xml")
        command = ["/usr/bin/python3", "-m", "pytest", "-q", "-ra",
                   "-p", "no:cacheprovider", f"--junitxml={report}",
                   "tests/system", "tests/docs"]
        if words:
            command += ["-k", " or ".join(words)]
        env = dict(os.environ, VARTA_BUILD=str(build),
                   PYTHONDONTWRITEBYTECODE="1")
        try:
            done = subprocess.run(command, cwd=ROOT, env=env,
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT,
                                  timeout=PYTEST_DEADLINE_S)
            output = done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired as late:
            tally.fail("system tests: deadline",
                       (late.stdout or b"").decode("utf-8", "replace"))
            return
        if not report.exists():
            tally.fail("system tests: no report", output)
            return
        suite = ElementTree.parse(report).getroot().find("testsuite")
        total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        for line in output.splitlines():
            if line.startswith("SKIPPED"):
                say(f"  {line}")
        tally.add(total - skipped - bad, bad, skipped)
        if bad or done.returncode not in (0, 5):
            tally.failures.append(("system tests", output))
            tally.failed += not bad
        say(f"system and document tests: {total - skipped - bad} passed, "
            f"{bad} failed, {skipped} skipped, {time.time() - start:.0f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", default=[])
    args = parser.parse_args()
    build, tally = args.build.resolve(), Tally()
    sanitized = build.with_name(build.name + "-clang")

    def chosen(programs):
        return [p for p in programs
                if not args.only or any(w in p[0] for w in args.only)]

    run_programs(tally, "unit, property and simulation",
                 chosen(tests_of(build)))
    if not args.quick:
        say("building with clang and sanitizers ...")
        if build_sanitized(tally, sanitized):
            run_programs(tally, "the same, sanitized",
                         chosen(tests_of(sanitized)), {
                             "ASAN_OPTIONS": "detect_leaks=1",
                             "UBSAN_OPTIONS":
                             "halt_on_error=1:print_stacktrace=1",
                             "VARTA_SANITIZED": "1"})
            if not args.only:
                run_fuzz_corpora(tally, sanitized)
        if not args.only:
            run_valgrind(tally, build)
    run_pytest(tally, build, args.only)

    for what, output in tally.failures:
        say(f"\nFAILED {what}")
        say("\n".join("    " + line for line in output.splitlines()[-60:]))
    say(f"{tally.passed} passed, {tally.failed} failed, "
        f"{tally.skipped} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
