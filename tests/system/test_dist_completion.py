"""Completion in bash: what is offered is what the programs take."""

import re
import shlex
import subprocess

import support
from support import ROOT

SCRIPTS = ROOT / "dist" / "completion"


def complete(line, folder="/"):
    """What bash offers when TAB is pressed at the end of this line."""
    words = re.findall(r"=|[^\s=]+", line)
    if line.endswith(" "):
        words.append("")
    script = (
        f"source {shlex.quote(str(SCRIPTS / words[0]))}; "
        f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); "
        f"COMP_CWORD={len(words) - 1}; "
        f"_{words[0].replace('-', '_')} {words[0]}; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{support.VARTA.parent}:{support.WATCH.parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-uc", script],
        env={"PATH": path},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split("\n")[:-1] if done.stdout != "\n" else []


def help_of(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def options_in(text):
    return re.findall(r"^  (--[a-z0-9-]+)", text, re.M)


def test_all_options_of_the_observer_are_offered():
    options = options_in(help_of(support.WATCH, "--help"))
    assert len(options) > 40
    assert complete("varta-watch ") == options
    assert complete("varta-watch --check --soc") == [
        "--socket",
        "--socket-mode",
    ]


def test_words_are_offered_where_an_option_takes_one_of_several():
    assert complete("varta-watch --log-level ") == [
        "error",
        "warn",
        "info",
        "debug",
    ]
    assert complete("varta-watch --log-format=j") == ["json"]
    assert complete("varta-watch --export-events=") == ["all", "reference"]


def test_every_word_that_is_offered_is_taken(folder):
    text = help_of(support.WATCH, "--help")
    offered = 0
    pattern = r"^  (--[a-z0-9-]+) ([A-Z]\S*)"
    for option, value in re.findall(pattern, text, re.M):
        if value in ("PATH", "FILE", "FOLDER", "USER", "GROUP"):
            continue
        for word in complete(f"varta-watch {option} "):
            done = subprocess.run(
                [support.WATCH, "--check", "--socket", folder / "s"]
                + ["--threshold-ms", "1000", option, word],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            known = "this system has no such" in done.stderr
            assert done.returncode == 0 or known, done.stderr
            offered += 1
    assert offered >= 10


def test_files_users_and_groups_are_offered_where_they_belong(folder):
    (folder / "a file").touch()
    assert complete("varta-watch --export-file ", folder) == ["a file"]
    assert complete("varta-watch --export-file=a", folder) == ["a file"]
    assert "nobody" in complete("varta-watch --allow-uid no")
    assert "root" in complete("varta-watch --allow-gid=ro")
    assert complete("varta-watch --threshold-ms ", folder) == []


def test_commands_of_the_tool_and_their_options_are_offered():
    text = help_of(support.VARTA, "--help")
    listed = text[text.index("commands:\n") :].split("\n\n")[0]
    commands = re.findall(r"^  ([a-z][a-z-]*) ", listed, re.M)
    assert "beat" in commands
    assert complete("varta ") == commands + ["--help", "--version"]
    assert complete("varta help b") == ["beat"]
    for command in commands:
        text = help_of(support.VARTA, "help", command)
        assert complete(f"varta {command} ") == options_in(text)


def test_the_words_of_a_status_are_offered():
    words = ["ok", "degraded", "critical"]
    assert complete("varta beat --status ") == words
    assert complete("varta beat --status=d") == ["degraded"]
    assert complete("varta beat --payload ") == []
