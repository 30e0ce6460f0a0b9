"""``alias.option`` of [pipeline]: its text reaches the filter as it stands, and no other option's does."""

from __future__ import annotations

import dataclasses
from configparser import RawConfigParser

import pytest
from configobj import ConfigObj, ConfigObjError
from hypothesis import assume, given
from hypothesis import strategies as st

from pyrox.config import parse_settings
from pyrox.config_environment import References
from pyrox.config_render import render_settings
from pyrox.config_verbatim import hide_verbatim
from pyrox.errors import ConfigError
from pyrox.settings import PipelineSettings

PIPELINE = "[pipeline]\nf = my.Filter\n"


def read(written: str) -> str:
    """Return the option of a filter whose line has ``written`` behind the equals sign."""
    return parse_settings(f"{PIPELINE}f.x ={written}\nf.y = last\n").pipeline.options["f"]["x"]


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "p.ini")
    return caught.value.problems


# --- values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc#1",
        "#fff",
        '"q, r", s',
        '[{"a": 1, "b": 2}]',
        '{"name": "it\'s"}',
        "['a', 'b']",
        "^/(a|b){1,3},\\d+='[^\"]*'$",
        "it's",
        "a, b,",
        ",",
        '"a" and "b"',
        '"',
        "'\"",
        "x = y",
        "[core]",
        "%(name)s %",
        "a ; b",
        "http://a/?q=1#top",
        '"a"#b',
        "a '''b''' c",
    ],
)
def test_text_is_passed_as_it_stands(text: str) -> None:
    assert read(text) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (" \t a  b \t", "a  b"),
        (" a\r", "a"),
        (" a # b", "a"),
        (" a\t# b # c", "a"),
        (" # b", ""),
        (" [1, 2] # it's", "[1, 2]"),
        (' ""', ""),
        (' "a # b"', "a # b"),
        ("' a '", " a "),
        (' "a" # b', "a"),
        (""" '"a"'""", '"a"'),
        (""" "it's"\r""", "it's"),
        (' "a # b', '"a'),
        (" '''a''' # b", "a"),
        (' """a \'\'\' " b"""', "a ''' \" b"),
        (" '''a,\n  f.z = \"b # c\n[core]'''", 'a,\n  f.z = "b # c\n[core]'),
    ],
)
def test_blanks_comments_and_quotes_around_it_are_not_part_of_it(written: str, text: str) -> None:
    assert read(written) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (' ["${PYROX_TEST_A}", 1]', '["a # \'b\' "", 1]'),
        (" '${PYROX_TEST_A}'", "a # 'b' \""),
        (" ${PYROX_TEST_UNSET:-c # 'd'}#e", "c # 'd'#e"),
        (" $${PYROX_TEST_A} #", "${PYROX_TEST_A}"),
        (" # ${PYROX_TEST_UNSET}", ""),
        (" '''${PYROX_TEST_A}\n${PYROX_TEST_A}'''", "a # 'b' \"\na # 'b' \""),
    ],
)
def test_references_are_resolved_and_never_become_syntax(
    written: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYROX_TEST_A", "a # 'b' \"")
    monkeypatch.delenv("PYROX_TEST_UNSET", raising=False)
    assert read(written) == text


@pytest.mark.parametrize("written", ["${PYROX_TEST_ODD}", '["${PYROX_TEST_ODD}"]'])
def test_what_looks_like_a_placeholder_in_a_variable_is_text(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYROX_TEST_ODD", "$${HOME} ${HOME}")
    assert read(written) == written.replace("${PYROX_TEST_ODD}", "$${HOME} ${HOME}")


# A value ends with its line, no blank stands before "#", and quotes or "${" have a meaning of their own.
as_in_old_files = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\n") | st.sampled_from("\"'#,;=[] ")
)


@given(as_in_old_files)
def test_old_values_are_what_config_parser_reads(text: str) -> None:
    assume("${" not in text and not text.strip().startswith(("'", '"')))
    assume(not any(f"{blank}#" in f" {text}" for blank in {c for c in text if c.isspace()} | {" "}))
    parser = RawConfigParser()
    parser.read_string(f"{PIPELINE}f.x = {text}\n")
    assert read(f" {text}") == parser["pipeline"]["f.x"]


# --- faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("f.x = {1: 'a'}\nf.x = 2", "p.ini:4: f.x stands here a second time; keep one"),
        ("f.x = '''{", "p.ini:3: f.x: the quotes or commas of its value do not match up"),
        ("f.x = '''a''' b", "p.ini:3: f.x: the quotes or commas of its value do not match up"),
        ("g.x = [1, '", "p.ini: [pipeline] g.x: 'g' is not defined"),
        ("f.x = a # b\nf.y", "p.ini:4: 'f.y' is neither [section] nor key = value"),
        ("f.x = a${", "p.ini: [pipeline] f.x: '${' is not followed by NAME}"),
        (
            "f.x = '[${PYROX_TEST_UNSET}, \"'",
            "p.ini: [pipeline] f.x: PYROX_TEST_UNSET is not set in the environment",
        ),
    ],
)
def test_faults_name_file_and_line_or_section_and_key(line: str, problem: str) -> None:
    (found,) = problems_of(PIPELINE + line)
    assert found.startswith(problem)


def test_faults_behind_such_a_value_have_their_own_line() -> None:
    assert problems_of(f"{PIPELINE}f.x = [{{'a\n[core]\noops\nprocesses = x, 'y") == [
        "p.ini:5: 'oops' is neither [section] nor key = value",
        "p.ini:6: processes: the quotes or commas of its value do not match up",
    ]


# --- where --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marker", ["[ pipeline ]", '["pipeline"] # it', "  ['pipeline']\r", "[pipeline]#"])
@pytest.mark.parametrize("key", ["f.x", '"f.x"', "'f.x' ", "  f.x"])
def test_section_and_key_may_be_written_in_any_way(marker: str, key: str) -> None:
    text = f"[core]\n{marker}\nf = my.Filter\n# f.y = '''\n{key}= [1, '2']#\n"
    assert parse_settings(text).pipeline.options == {"f": {"x": "[1, '2']#"}}


def test_other_options_are_read_as_ever() -> None:
    settings = parse_settings(
        """
        [pipeline]
        upstream = f, "g"#c
        f = my.Filter#c
        g = 'my.Other'
        [middleware]
        [[a]]
        b.c = 1, "2"#c
        text = '''
        [pipeline]
        f.x = 1, "2"#c'''
        b.d = 3, "4"#c
        """
    )
    assert settings.pipeline.upstream == ("f", "g")
    assert settings.pipeline.aliases == {"f": "my.Filter", "g": "my.Other"}
    assert settings.pipeline.options == {}
    assert settings.middleware.sections["a"] == {
        "b.c": ["1", "2"],
        "text": '\n        [pipeline]\n        f.x = 1, "2"#c',
        "b.d": ["3", "4"],
    }


MARKERS = [
    "[pipeline]",
    ' [ "pipeline" ] # c',
    "[core]",
    "[[pipeline]]",
    "[[a]]",
    "[pipeline]x",
    "[a].b = [c]",
]
STARTS = [
    "k{} = '''",
    'k{} = """',
    "f.k{} = '''a",
    "k{} = '''a''' # c",
    "# k = '''",
    "k{} = 'a'''",
    "k{} = a # '''",
]
ENDS = ["'''", 'b"""#c', "k{} = '''", "'''x"]
OPTIONS = ["f.k{} = v#c", "k{} = v#c", "'f.k{}'=v#c", "#f.k = v", "[f.k{} = v#c", "", "oops"]


@given(st.lists(st.sampled_from(MARKERS + STARTS + ENDS) | st.sampled_from(OPTIONS), max_size=10))
def test_values_are_hidden_exactly_where_configobj_would_read_them(lines: list[str]) -> None:
    lines = [line.format(number) for number, line in enumerate(lines)]
    try:
        tree = ConfigObj(lines, interpolation=False)
    except ConfigObjError:
        assume(False)
    if "pipeline" in tree:
        section = tree["pipeline"]
        for key in section.scalars:
            section[key] = "v#c" if "." in key and section[key] == "v" else section[key]
    references = References({})
    hidden = ConfigObj([*hide_verbatim(lines, references)], interpolation=False)
    hidden.walk(lambda section, key: section.__setitem__(key, references.resolve(section[key])))
    assert hidden.dict() == tree.dict()


# --- printed and read again ---------------------------------------------------------------------------


def as_read(pipeline: PipelineSettings) -> PipelineSettings:
    return parse_settings(
        render_settings(dataclasses.replace(parse_settings(""), pipeline=pipeline))
    ).pipeline


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("abc#1", "f.x = abc#1"),
        ('[{"a": 1, "b": 2}]', 'f.x = [{"a": 1, "b": 2}]'),
        ("", 'f.x = ""'),
        (" a", 'f.x = " a"'),
        ("a # b", 'f.x = "a # b"'),
        ('"a"', "f.x = '\"a\"'"),
        ('it\'s # "a"', "f.x = '''it's # \"a\"'''"),
        ("${HOME} # a", 'f.x = "$${HOME} # a"'),
    ],
)
def test_values_are_printed_as_they_stand_where_that_is_possible(value: str, line: str) -> None:
    settings = parse_settings(PIPELINE)
    pipeline = dataclasses.replace(settings.pipeline, options={"f": {"x": value}})
    assert line in render_settings(dataclasses.replace(settings, pipeline=pipeline)).split("\n")
    assert as_read(pipeline) == pipeline


# A variable of the environment holds anything but NUL.
values = st.text(st.characters(exclude_characters="\0") | st.sampled_from("'\"\n\r#,$ {}[]="), max_size=12)
quoted = st.lists(
    st.sampled_from(["'", '"', "'''", '"""', "a", " ", " #", "#", "\n", "${", "[pipeline]"])
).map("".join)
names = st.text(st.characters(categories=["L", "N"]) | st.sampled_from("_-. $'#=[]"), min_size=1, max_size=8)


@given(st.dictionaries(names, values | quoted, min_size=1, max_size=4))
def test_any_value_is_read_back_or_refused(options: dict[str, str]) -> None:
    pipeline = dataclasses.replace(parse_settings(PIPELINE).pipeline, options={"f": options})
    try:
        assert as_read(pipeline) == pipeline
    except ConfigError as error:
        assert all("cannot be written" in problem for problem in error.problems)
        assert any(cannot_stand(value) for value in options.values())


def cannot_stand(value: str) -> bool:
    """Say whether a value is no UTF-8, or has line ends or quotes that no syntax of the file can hold."""
    is_utf8 = value.encode(errors="replace").decode() == value
    return not is_utf8 or "\r\n" in value or ("'''" in value and '"""' in value)
