"""What the benchmarks do with figures; that their roads lead somewhere."""

import json
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


def test_every_kind_that_is_counted_is_answered_well(monkeypatch):
    import road
    from roads import KINDS

    answers = []
    monkeypatch.setattr(road.ServerSocket, "send", lambda self, data: len(data))
    monkeypatch.setattr(road.ClientSocket, "send", lambda self, data: answers.append(data[:12]) or len(data))
    for name, prepare in KINDS.items():
        prepare()
        assert answers == [b"HTTP/1.1 200"] * road.REQUESTS, name
        answers.clear()


def test_no_two_requests_of_the_varied_road_are_the_same():
    from itertools import islice

    from road import varied

    assert len(set(islice(varied(), 1000))) == 1000


# --- check.py: whatever counts the instructions ---

RECORDED = {"get": 9.0, "post": 10.0}


@pytest.fixture
def check(monkeypatch, tmp_path):
    """Return what runs the check with these costs, beside a record of this version of Python."""
    import platform

    import check

    recorded = tmp_path / "recorded.json"
    python = ".".join(platform.python_version_tuple()[:2])
    recorded.write_text(json.dumps({python: RECORDED}))

    def run(costs, *arguments):
        monkeypatch.setattr(check, "measure", lambda kinds, burden: {**costs, "plain": 1000})
        monkeypatch.setattr(sys, "argv", ["check.py", "--recorded", str(recorded), *arguments])
        return check.main()

    run.recorded = recorded
    return run


@pytest.mark.parametrize("get", [8735, 9000, 9265])
def test_a_road_as_long_as_recorded_passes(check, capsys, get):
    assert check({"get": get, "post": 10000}) == 0
    assert "record" not in capsys.readouterr().out.partition("\n")[2]


def test_a_longer_road_fails_and_says_what_to_do(check, capsys):
    assert check({"get": 9275, "post": 10000}) == 1
    _heading, get, post, *_ = (output := capsys.readouterr().out).splitlines()
    assert get.endswith("SLOWER") and not post.endswith("SLOWER")
    assert "roads.py get" in output and "check.py --record" in output


def test_a_shorter_road_asks_for_a_new_record_and_passes(check, capsys):
    assert check({"get": 8725, "post": 10000}) == 0
    assert "faster: record anew" in capsys.readouterr().out


def test_a_kind_without_a_record_passes(check, capsys):
    assert check({"get": 9000, "close": 20000}) == 0
    assert "not recorded yet: --record" in capsys.readouterr().out


def test_a_python_without_a_record_passes(check, capsys):
    check.recorded.write_text(json.dumps({"2.7": RECORDED}))
    assert check({"get": 9000}) == 0
    assert "only on 2.7: --record" in capsys.readouterr().out


def test_a_record_leaves_other_pythons_and_other_kinds_as_they_were(check):
    old = json.loads(check.recorded.read_text())
    check.recorded.write_text(json.dumps({**old, "2.7": RECORDED}))
    assert check({"get": 12000}, "--record") == 0
    (python,) = old
    recorded = json.loads(check.recorded.read_text())
    assert recorded == {python: {"get": 12.0, "post": 10.0}, "2.7": RECORDED}


def test_without_valgrind_nothing_is_checked_and_it_says_what_to_install(monkeypatch, capsys):
    import check

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "argv", ["check.py"])
    assert check.main() == 0
    assert "apt-get install valgrind" in capsys.readouterr().out


def test_everything_that_is_checked_is_recorded():
    from roads import KINDS

    recorded = json.loads((Path(BENCHMARKS) / "recorded.json").read_text())
    assert all(ratios.keys() == KINDS.keys() for ratios in recorded.values())
