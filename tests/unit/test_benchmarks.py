"""What the benchmarks do with figures; that their roads lead somewhere."""

import json
import signal
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


@pytest.mark.parametrize(("arguments", "status"), [([], 0), (["--record"], 1)])
def test_without_valgrind_nothing_is_counted_and_it_says_what_to_install(
    arguments, status, monkeypatch, capsys
):
    import check

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "argv", ["check.py", *arguments])
    assert check.main() == status
    assert "apt-get install valgrind" in capsys.readouterr().out


def test_where_valgrind_may_not_run_nothing_is_counted_and_it_says_why(monkeypatch, capsys, tmp_path):
    import check

    valgrind = tmp_path / "valgrind"
    valgrind.write_text("#!/bin/sh\necho mmap failed >&2\nexit 1\n")
    valgrind.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "argv", ["check.py"])
    assert check.main() == 0
    assert capsys.readouterr().out == "nothing is checked: valgrind does not work here: mmap failed\n"


def test_a_road_that_waits_for_ever_fails(monkeypatch, tmp_path):
    import callgrind

    monkeypatch.setattr(callgrind, "PATIENCE", 1)
    with pytest.raises(RuntimeError, match="counting endless failed"):
        callgrind.count_each({"endless": signal.pause}, tmp_path)


def test_everything_that_is_checked_is_recorded():
    from roads import KINDS

    recorded = json.loads((Path(BENCHMARKS) / "recorded.json").read_text())
    assert all(ratios.keys() == KINDS.keys() for ratios in recorded.values())


# --- breakdown.py ---

LOOP = "ProxyServer.handle (pyrox/green/server.py:93);ClientConnection._exchange (pyrox/green/client.py:100)"
STACK = f"{LOOP};_layer.<locals>.layer (pyrox/middleware/stack.py:89)"
MIDDLEWARE = f"{STACK};RequestId.__call__ (pyrox/middleware/request_id.py:42)"
FORWARDER = f"{MIDDLEWARE};Forwarder.__call__ (pyrox/green/forwarder.py:69)"


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        ("Hub.run (gevent/hub.py:631)", "waiting and waking"),
        (f"{FORWARDER};SocketStream._wait_readable (pyrox/green/stream.py:204)", "waiting and waking"),
        (LOOP, "the client's loop"),
        (STACK, "middleware: what lies between"),
        (MIDDLEWARE, "middleware `request_id`"),
        (f"{MIDDLEWARE};Headers.get (pyrox/http/headers.py:9)", "middleware `request_id`"),
        (FORWARDER, "forwarder, balancing, pool"),
        (f"{FORWARDER};SocketStream.send (pyrox/green/stream.py:2)", "request to the server: sending"),
        (f"{LOOP};SocketStream.send (pyrox/green/stream.py:2)", "answer to the client: sending"),
        (f"{LOOP};SocketStream.read_head (pyrox/green/stream.py:2)", "head of the request: reading"),
        ("main (somewhere.py:1)", "others"),
    ],
)
def test_a_stack_belongs_to_a_part(stack, part):
    from breakdown import part_of

    assert part_of(f"{stack} 1234") == part


def test_parts_are_shares_of_all_and_small_ones_are_put_together():
    from breakdown import parts_of

    small = f"{MIDDLEWARE} 2"
    shares = parts_of(f"f (x.py:1) 300\n{LOOP} 400\n{STACK} 149\n{STACK};f (x.py:1) 149\n{small}\n")
    assert shares == {"the client's loop": 0.4, "middleware: what lies between": 0.298, "others": 0.302}
    assert list(shares)[-1] == "others"


def test_functions_that_parts_are_known_by_are_there():
    """A part whose function was renamed would silently go into another."""
    import re

    from breakdown import PARTS

    root = Path(BENCHMARKS).parent / "pyrox"
    code = "".join(path.read_text() for path in root.rglob("*.py"))
    files = {path.name for path in root.rglob("*.py")}
    patterns = [pattern for _, pattern in PARTS]
    methods = {name for each in patterns for name in re.findall(r"(?:\.|;)_?(\w+) ", each.replace("\\", ""))}
    assert methods >= {"send", "receive", "wait_readable", "encode_request_head"}
    assert all(re.search(rf"def _?{name}\(", code) for name in methods)
    named = {name for each in patterns for name in re.findall(r"/(\w+)\\.py", each)}
    assert {f"{name}.py" for name in named} <= files


def test_system_calls_are_counted_from_a_summary():
    from breakdown import calls_of

    summary = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 66.83    0.141469        8321        17         1 futex
 16.47    0.034859           6      5497           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.211697          18      5514         1 total
"""
    assert calls_of(summary) == {"`futex`": 17, "`sendto`": 5497}


def test_samples_in_the_kernel_belong_to_their_system_call():
    from breakdown import call_shares_of

    kernel, user = "\tffffffff81c3 {} ([kernel.kallsyms])\n", "\t10a974 __send+0x64 (libc.so.6)\n"
    sending = (
        f"pyrox 837: cpu-clock:\n{kernel.format('copy+0x1')}{kernel.format('__x64_sys_sendto+0x1')}{user}"
    )
    entering = f"pyrox 837: cpu-clock:\n{kernel.format('do_syscall_64+0x46')}{user}"
    script = "\n".join([sending, sending, entering, f"pyrox 837: cpu-clock:\n{user}"])
    assert call_shares_of(script) == {"`sendto`": 0.5, "entry and exit, interrupts": 0.25}


def test_figures_are_put_between_their_marks(tmp_path):
    from breakdown import MARKS, write

    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKS[0]}old\n{MARKS[1]}after\n")
    write(page, "new\n")
    assert page.read_text() == f"before\n{MARKS[0]}new\n{MARKS[1]}after\n"


def test_every_part_is_explained():
    from breakdown import ENTRY, MARKS, OTHERS, PARTS

    page = (Path(BENCHMARKS).parent / "docs/performance.md").read_text()
    explained = page.partition(MARKS[1])[2]
    names = [*(name for name, _ in PARTS), OTHERS, ENTRY]
    assert [name for name in names if f"\n| {name.replace(' `{}`', ', by name')} |" not in explained] == []
