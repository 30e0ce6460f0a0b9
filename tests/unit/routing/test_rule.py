"""The language of rules: what is read, and what is said of what cannot be."""

from __future__ import annotations

import pytest

from pyrox.routing.rule import And, Call, Not, Or, RuleError, parse_rule

HOST, PATH, GET = Call("Host", ("a.test",)), Call("PathPrefix", ("/v1",)), Call("Method", ("GET",))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Host(`a.test`)", HOST),
        (" Host ( 'a.test' ) ", HOST),
        ('host("A.Test.")', HOST),
        ("Host(`a.test`) && PathPrefix(`/v1`)", And((HOST, PATH))),
        ("Host(`a.test`)&&PathPrefix(`/v1`)&&Method(`get`)", And((HOST, PATH, GET))),
        ("Host(`a.test`) || PathPrefix(`/v1`) && Method(`GET`)", Or((HOST, And((PATH, GET))))),
        ("(Host(`a.test`) || PathPrefix(`/v1`)) && Method(`GET`)", And((Or((HOST, PATH)), GET))),
        ("!Host(`a.test`) && !(Method(`GET`) || PathPrefix(`/v1`))", And((Not(HOST), Not(Or((GET, PATH)))))),
        ("!!Host(`a.test`)", Not(Not(HOST))),
        ("((Host(`a.test`)))", HOST),
        (
            "Host(`a.test`, `*.b.test`, '[::1]', `10.0.0.1`)",
            Call("Host", ("a.test", "*.b.test", "[::1]", "10.0.0.1")),
        ),
        ("Header(`X-Beta`, `1`)", Call("Header", ("x-beta", "1"))),
        ('Header(`X`, `a, b (c) && "d" !`)', Call("Header", ("x", 'a, b (c) && "d" !'))),
        ("Query(`a`)", Call("Query", ("a",))),
        ("Cookie('a', 'B')", Call("Cookie", ("a", "B"))),
        ("ClientIP(`10.0.0.0/8`, `::1`, `unix`)", Call("ClientIP", ("10.0.0.0/8", "::1/128", "unix"))),
        ("PathRegexp(`^/a\\.b$`)", Call("PathRegexp", ("^/a\\.b$",))),
        ("PathRegex(`a`)", Call("PathRegexp", ("a",))),
        ("Path(`/caf\u00e9 x`)", Call("Path", ("/caf%C3%A9%20x",))),
        ("Path(`/%61%2b%c3`)", Call("Path", ("/a+%C3",))),
    ],
)
def test_rules_are_read(text: str, rule: object) -> None:
    assert parse_rule(text) == rule
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("", 1, "the end where a function such as Host(`a.test`) should be"),
        ("Hots(`a.test`)", 1, "'Hots' is no function; did you mean Host?"),
        ("Host(`a.test`) && Pathprefx(`/`)", 19, "'Pathprefx' is no function; did you mean PathPrefix?"),
        ("Zzzz(`x`)", 1, "'Zzzz' is no function; there are Host, HostRegexp, Path"),
        ("Host(`a.test`) PathPrefix(`/`)", 16, "'PathPrefix' where && or || or the end should be"),
        ("Host(`a.test`) & Path(`/`)", 16, "'&' stands alone; write &&"),
        ("Host(`a.test`) | Path(`/`)", 16, "'|' stands alone; write ||"),
        ("Host(`a.test`) &&", 18, "the end where a function"),
        ("Host(`a.test`) && && Path(`/`)", 19, "'&&' where a function"),
        ("Host", 5, "Host needs its arguments in parentheses"),
        ("Host()", 1, "Host takes one or more host names, not 0"),
        ("Host(a.test)", 6, "'a' where a text in quotes should be"),
        ("Host(`a.test`", 14, "Host of column 1 has no ) here"),
        ("Host(`a.test`,)", 15, "')' where a text in quotes should be"),
        ("(Host(`a.test`)", 16, "the ( of column 1 has no )"),
        ("Host(`a.test`))", 15, "')' where && or || or the end should be"),
        ("Host(`a.test)", 6, "the ` has no end"),
        ("Header(`X`, `a ", 13, "the ` has no end"),
        ("Host(`a.test`) + 1", 16, "'+' has no meaning here"),
        ("Method(`GET`) && Host(`a.test:80`)", 23, "Host: 'a.test:80' is no host name; leave the port"),
        ("Host(`a_b.*.test`)", 6, "Host: 'a_b.*.test' is no host name"),
        ("Host(`b\u00fccher.test`)", 6, "Host: 'b\u00fccher.test' is not ASCII; write the name as xn--..."),
        ("Path(`v1`)", 6, "Path: 'v1' is no path; it begins with /"),
        ("Path(`/a?b=c`)", 6, "Path: '/a?b=c' has more than a path"),
        ("PathPrefix(`/a/../b`)", 12, "PathPrefix: '/a/../b' has //, \\ or . or .."),
        ("PathPrefix(`/a//b`)", 12, "PathPrefix: '/a//b' has //"),
        ("Path(`/a%2Fb`)", 6, "Path: '/a%2Fb' has an escaped /"),
        ("Path(`/a;b`)", 6, "Path: '/a;b' has a ;"),
        ("Method(`G T`)", 8, "Method: 'G T' is no method"),
        ("Header(`a b`)", 8, "Header: 'a b' is no name of a header"),
        ("Query(``)", 7, "Query: the name is empty"),
        ("ClientIP(`10.0.0.300`)", 10, "ClientIP: '10.0.0.300' is not a network"),
        ("PathRegexp(`(`)", 12, "PathRegexp: '(' is no regular expression here: missing )"),
        ("PathRegexp(`(a)\\1`)", 12, "RE2 has no back-references and no look-around"),
        ("PathRegexp(`(?=a)`)", 12, "RE2 has no back-references and no look-around"),
        ("PathRegexp(`a`, `b`)", 1, "PathRegexp takes one regular expression, not 2"),
        ("HeaderRegexp(`a`)", 1, "HeaderRegexp takes the name of a header and one regular expression, not 1"),
        ("(" * 33 + "Host(`a`)" + ")" * 33, 33, "more than 32 parentheses and ! in each other"),
    ],
)
def test_a_fault_is_named_with_its_column(text: str, column: int, reason: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(text)
    assert caught.value.column == column
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"column {column}: ")


def test_rules_are_equal_wherever_their_functions_stand() -> None:
    assert parse_rule("Host(`a.test`)&&Method(`GET`)") == parse_rule("  Host('a.test')   &&   Method('get') ")
