"""A real Prometheus on this host, and what our rules and dashboard ask it."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import yaml

from support import DEADLINE_S, ROOT, Late, wait_for

RULES = ROOT / "dist/prometheus/varta-rules.yml"
RULES_TEST = ROOT / "dist/prometheus/varta-rules-test.yml"
SCRAPE = ROOT / "dist/prometheus/scrape-example.yml"
DASHBOARD = ROOT / "dist/grafana/varta.json"


def rules():
    """All rules, in their order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


def hurried_rules():
    """The rules as shipped, but that nothing is waited for."""
    text = re.sub(r"^( +for:) \w+$", r"\1 0s", RULES.read_text(), flags=re.M)
    text, n = re.subn(r"^( +interval:) \w+$", r"\1 1s", text, flags=re.M)
    assert n == text.count("- name:")
    return text


def dashboard():
    return json.loads(DASHBOARD.read_text())


def as_one_of(values):
    """Values of a variable as Grafana writes them into =~: escaped, and in
    brackets when there are several."""
    escaped = [re.sub(r"([\\^$*+?.()|\[\]{}/])", r"\\\\\1", v) for v in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def dashboard_expressions(instance=".*"):
    """(panel, expression) of all panels, variables filled in; of all hosts,
    unless they are given as_one_of()."""
    filled = {"$instance": instance, "$__rate_interval": "1m"}
    found = []
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"]
            for name, value in filled.items():
                assert f"{name}_" not in expr, expr
                expr = expr.replace(name, value)
            assert "$" not in expr, expr
            found.append((panel["title"], expr))
    return found


# ---- what an expression names ----------------------------------------------


def selectors(expr):
    """(family or recorded name, [(label, operator, value), ...]) of an
    expression."""
    pattern = r"(?<![\w:\"])(varta[\w:]*\w|up)\b(?![\w-]*\")(?:\{([^}]*)\})?"
    matcher = r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"'
    return [
        (name, re.findall(matcher, matchers))
        for name, matchers in re.findall(pattern, expr)
    ]


# ---- the server ------------------------------------------------------------


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Prometheus:
    """Scrapes target each second and evaluates rules each second."""

    def __init__(self, folder, target, rules_text):
        self.folder = pathlib.Path(folder)
        (self.folder / "varta-rules.yml").write_text(rules_text)
        config = yaml.safe_load(SCRAPE.read_text())
        config["global"] = {"evaluation_interval": "1s"}
        [job] = config["scrape_configs"]
        job.update(scrape_interval="1s", scrape_timeout="1s")
        job["static_configs"] = [{"targets": [target]}]
        self.config = self.folder / "prometheus.yml"
        self.config.write_text(yaml.safe_dump(config))
        self.log_path = self.folder / "prometheus.log"
        self.process = None

    def __enter__(self):
        # A port that somebody else took meanwhile: another one.
        for _ in range(5):
            self.port = free_port()
            self._launch()
            with contextlib.suppress(Late):
                wait_for(self._is_ready, what="prometheus", step_s=0.05)
                return self
            self.__exit__()
        raise Late(self.log_path.read_text())

    def _launch(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self.config}",
                    f"--storage.tsdb.path={self.folder}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "GOMAXPROCS": "1"},
            )

    def _is_ready(self):
        if self.process.poll() is not None:
            raise Late(self.log_path.read_text())
        try:
            self._get("/-/ready")
        except OSError:
            return False
        return True

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _get(self, path):
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
            return answer.read()

    def label_values(self, label, match):
        """As a variable of a dashboard asks for them."""
        words = urllib.parse.urlencode({"match[]": match})
        answer = json.loads(self._get(f"/api/v1/label/{label}/values?{words}"))
        return answer["data"]

    def query(self, expr):
        """The samples of an expression now: [(labels, value)]."""
        words = urllib.parse.urlencode({"query": expr})
        try:
            answer = json.loads(self._get(f"/api/v1/query?{words}"))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expr}: {error.read()}") from None
        assert answer["status"] == "success", (expr, answer)
        return [
            (one["metric"], float(one["value"][1]))
            for one in answer["data"]["result"]
        ]

    def firing(self):
        """Alerts that fire: name to [alert]."""
        answer = json.loads(self._get("/api/v1/alerts"))
        found = {}
        for alert in answer["data"]["alerts"]:
            if alert["state"] == "firing":
                name = alert["labels"]["alertname"]
                found.setdefault(name, []).append(alert)
        return found

    def rule_faults(self):
        answer = json.loads(self._get("/api/v1/rules"))
        return [
            (rule["name"], rule.get("lastError"))
            for group in answer["data"]["groups"]
            for rule in group["rules"]
            if rule["health"] == "err"
        ]

    def wait_firing(self, name):
        try:
            return wait_for(
                lambda: self.firing().get(name), what=name, step_s=0.1
            )
        except Late as late:
            raise Late(f"{late}; firing: {self.firing()}") from None

    def wait_quiet(self, name):
        wait_for(
            lambda: name not in self.firing(),
            what=f"no {name} any more",
            step_s=0.1,
        )
