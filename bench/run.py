#!/usr/bin/python3
"""Run the benchmarks, print a table, write build/bench.json.

Every benchmark is a program build/bench/bench_NAME that measures its subject
and its floor in turn, round by round, and prints one JSON object: result name
to result. What a result must reach stands here. A miss is told, and is no
failure of the run unless --check is given: figures depend on what else the
machine does.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile

# Result name: program, the highest value allowed (of the ratio, where there is
# a floor; None: told only), and what is compared. A result may have parts,
# each with a limit of its own. Results that two programs share are merged.
RESULTS = {
    "beat_vs_send": ("beat", 1.08, "varta_beat() / bare send(2)"),
    "sealed_beat_vs_floor": (
        "sealed_beat", 1.10, "sealed varta_beat() / sealing and send(2)"),
    "lane_beat_vs_floor": (
        "lane", 1.25, "varta_lane_beat() / reading the clock and storing it"),
    "lane_beat_vs_send": (
        "lane", 0.04, "varta_lane_beat() / bare send(2) of a frame"),
    "lane_watch_cpu": (
        "lane_watch", 0.5, "percent of a processor for 4,032 lanes"),
    "beat_live_vs_blocked": (
        "live", 0.20, "varta_beat() into the daemon / send(2) to a sleeper"),
    "ingest_vs_recv": (
        "ingest pass", 1.15, "CPU per accepted frame / bare recvmmsg(2)"),
    "paced_vs_naive": (
        "paced", {"1000_per_s": 0.50, "10000_per_s": 0.17},
        "CPU at a steady rate / poll(2) and recvmsg(2) for each"),
    "idle_wakeups_per_s": ("idle", 0.1, "wake-ups with nothing due"),
    "stall_lateness_vs_timer": (
        "stall", {"p50": 2, "p99": 3},
        "stall past its deadline and slot / bare timerfd"),
    "exit_notice_vs_pidfd": (
        "exit", 1.5, "SIGKILL to exit line / bare pidfd in epoll"),
    "mass_stall_4096_ms": (
        "mass", 1.5, "recovery of a mass stall / as many bare posix_spawn(3)"),
    "slow_disk_stall_delay_us": (
        "disk", 2000, "stall lateness p99 while the audit disk blocks 2 s"),
    "sealed_ingest_vs_floor": (
        "sealed_ingest", 1.25,
        "CPU per accepted sealed frame / bare recvmmsg(2) and opening it"),
    "forged_cost_vs_floor": (
        "sealed_ingest", 1.30,
        "CPU per forged datagram, 8 keys / 8 failed attempts to open it"),
    "flood_stall_lateness_us": (
        "flood", 5000,
        "p99 of stalls here while one sender floods forged frames"),
    "track_vs_lookup": ("track", 1.3, "beat in the tracker / bare look-up"),
    "table_bytes_per_agent": ("track", 128, "memory of the agent table"),
    "scrape_100k_ms": (
        "scrape", 6, "/metrics of 100,000 agents / bare writer of as much"),
    "scrape_stall_delay_us": (
        "scrape", 2000, "p99 of what scrapes add to the lateness of stalls"),
    "rss_kib": ("idle", None, "resident memory of the daemon"),
}

TIME_LIMIT_S = 130


def programs(keys):
    """The programs that give these results, each once, in order."""
    found = []
    for key in keys:
        for name in RESULTS[key][0].split():
            if name not in found:
                found.append(name)
    return found


def run_program(name, args, folder):
    """The results of one program, and the command that gave them."""
    command = [os.path.join(args.build, "bench", "bench_" + name),
               "--daemon",
               os.path.join(args.build, "src", "watch", "varta-watch")]
    if args.quick:
        command.append("--quick")
    if args.rounds:
        command += ["--rounds", str(args.rounds)]
    env = dict(os.environ, TMPDIR=folder)
    env.pop("NOTIFY_SOCKET", None)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, env=env,
                              timeout=TIME_LIMIT_S, check=False)
        if done.returncode != 0:
            return {"error": "exit code %d" % done.returncode}, command
        return json.loads(done.stdout), command
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return {"error": str(error)}, command


def figure(result):
    """What is held against the limit."""
    return result.get("ratio", result.get("value"))


def judge(result, limit):
    """Add the limit and the verdict."""
    if "skipped" in result or "error" in result:
        return
    if limit is None:
        result["ok"] = True
        return
    result["must"] = limit
    value = figure(result)
    result["ok"] = value is not None and value <= limit


def finish(result, limit):
    """Judge a result with all its parts; it then repeats the part that is
    nearest to its limit, or furthest above."""
    parts = result.get("parts")
    if not parts:
        judge(result, limit)
        return
    for name, part in parts.items():
        judge(part, limit[name] if isinstance(limit, dict) else limit)
    judged = [p for p in parts.values() if "must" in p]
    if not judged:
        result.update(skipped="no part could be measured")
        return
    worst = max(judged, key=lambda p: (figure(p) or 0) / p["must"])
    for key, value in worst.items():
        result.setdefault(key, value)
    result["ok"] = all(p["ok"] for p in judged)


def merge(results, fresh):
    """Take in what one program found; parts of one result come together."""
    for key, result in fresh.items():
        if key in results and "parts" in results[key] and "parts" in result:
            results[key]["parts"].update(result["parts"])
        elif key not in results or "parts" not in results[key]:
            results[key] = result


def number(value):
    """A figure for people: four digits, no exponent."""
    if value is None:
        return "-"
    if value >= 1000:
        return "%.0f" % value
    return "%.4g" % value if value >= 0.1 or value == 0 else "%.4f" % value


def row(name, result):
    """One line of the table."""
    if "skipped" in result or "error" in result:
        why = result.get("skipped", result.get("error"))
        print("%-34s %s: %s" % (
            name, "skipped" if "skipped" in result else "FAILED", why))
        return
    spread = result.get("spread")
    must = result.get("must")
    print("%-34s %9s %9s  %-9s %7s %-15s %7s  %s" % (
        name, number(result.get("value")), number(result.get("floor")),
        result.get("unit", "")[:9], number(result.get("ratio")),
        "%s-%s" % tuple(map(number, spread)) if spread else "",
        "" if must is None else "<=" + number(must),
        "told" if must is None else "ok" if result["ok"] else "MISSED"))


def table(results):
    """Everything, a line each; a result with parts has one for each part."""
    print("%-34s %9s %9s  %-9s %7s %-15s %7s  %s" % (
        "result", "value", "floor", "unit", "ratio", "spread", "must",
        "verdict"))
    for key in RESULTS:
        if key not in results:
            continue
        parts = results[key].get("parts")
        if parts and "error" not in results[key]:
            for name, part in parts.items():
                row(key + " " + name, part)
        else:
            row(key, results[key])


def machine():
    """What the figures belong to."""
    model = platform.processor()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"processor": model, "processors": os.cpu_count(),
            "architecture": platform.machine(),
            "load_average": os.getloadavg()}


def measure(args, keys):
    """Run what is needed for these results."""
    results, commands = {}, {}
    for name in programs(keys):
        print("bench: %s" % name, file=sys.stderr, flush=True)
        folder = tempfile.mkdtemp(prefix="vb.", dir="/tmp")
        try:
            fresh, command = run_program(name, args, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        commands[name] = " ".join(command)
        if "error" in fresh:
            fresh = {key: dict(fresh) for key in keys
                     if name in RESULTS[key][0].split()}
            for key, result in fresh.items():
                results.setdefault(key, {}).update(result)
        else:
            merge(results, {k: v for k, v in fresh.items() if k in keys})
    for key, result in results.items():
        finish(result, RESULTS[key][1])
        result["what"] = RESULTS[key][2]
        if "error" in result:
            result["ok"] = False
    return results, commands


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", action="append", metavar="RESULT",
                        choices=sorted(RESULTS), help="may be repeated")
    parser.add_argument("--quick", action="store_true",
                        help="short windows, to see that all works")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out", help="default: BUILD/bench.json")
    parser.add_argument("--check", action="store_true",
                        help="exit with 1 when a limit is missed")
    return parser.parse_args()


def main():
    args = arguments()
    date = datetime.datetime.now(datetime.timezone.utc)
    before = machine()
    results, commands = measure(args, args.only or list(RESULTS))
    table(results)
    out = args.out or os.path.join(args.build, "bench.json")
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"machine": before, "kernel": platform.release(),
                   "date": date.isoformat(timespec="seconds"),
                   "quick": args.quick, "commands": commands,
                   "results": results}, file, indent=1)
        file.write("\n")
    print("written: %s" % out)
    if any("error" in r for r in results.values()):
        return 1
    if args.check and any(r.get("ok") is False for r in results.values()):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
