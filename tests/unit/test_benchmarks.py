"""What the benchmarks do with figures; that their roads lead somewhere."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:  # names such as "report" are nobody else's business
        if getattr(sys.modules[name], "__file__", None) and sys.modules[name].__file__.startswith(BENCHMARKS):
            del sys.modules[name]


def run_of(costs):
    result = {"workload": "get", "title": "small GET", "unit": "us/req", "other_work": 0.5}
    result["figures"] = {name: {"cost": cost} for name, cost in costs.items()}
    command = ["benchmarks/run.py", "--rounds", "5", "--json", "/secret/place.json"]
    return {
        "machine": "A & B",
        "command": command,
        "rounds": 5,
        "slice_seconds": 1,
        "results": [result],
    }


def texts_of(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_a_chart_has_every_proxy_as_a_multiple_of_pyrox():
    from chart import chart

    texts = texts_of(chart(run_of({"pyrox": 30.0, "nginx": 15.0, "mitmproxy": 960.0})))
    assert [texts[texts.index(name) + 1] for name in ("nginx", "Pyrox", "mitmproxy")] == [
        "0.50",
        "1.00",
        "32 \N{RIGHTWARDS ARROW}",
    ]


def test_a_chart_names_machine_and_command_but_not_where_the_figures_were_kept():
    from chart import chart

    texts = texts_of(chart(run_of({"pyrox": 30.0})))
    assert any(text.startswith("A & B; 5 turns of 1 s each") for text in texts)
    assert "python benchmarks/run.py --rounds 5" in texts


@pytest.mark.parametrize(("ratio", "is_good"), [(0.5, True), (1.24, True), (1.26, False)])
def test_a_ratio_beyond_the_tolerance_is_slower(ratio, is_good, capsys):
    from check import show

    assert show({"GET": ratio}, {"GET": 1.0}, 0.25) is is_good
    assert ("SLOWER" in capsys.readouterr().out) is not is_good


def test_a_road_carries_its_requests_through_stack_and_log(tmp_path):
    from road import POST, REQUESTS, travel

    log = tmp_path / "access.log"
    route = "[routes]\n[[r]]\nmatch = PathPrefix(`/v9`)\ncluster = http://10.0.0.1:80\n"
    go = travel(
        f"[logging]\naccess_log = {log}\n[routing]\nupstream_hosts = http://10.0.0.2:80\n{route}", POST
    )
    go()
    lines = log.read_text().splitlines()
    assert len(lines) >= REQUESTS
    assert all('"POST /v9/users/42?page=1 HTTP/1.1" 200 254' in line for line in lines)


def test_everything_that_is_checked_is_recorded():
    import json

    from check import RECORDED, measured

    assert json.loads(RECORDED.read_text())["ratios"].keys() == measured().keys()
