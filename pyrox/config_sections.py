"""The sections of a parsed file, checked option by option against the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pyrox.config_report import Report, did_you_mean
from pyrox.settings import (
    CertificateSettings,
    ClusterSettings,
    ClustersSettings,
    PipelineSettings,
    RawOptions,
    RouteSettings,
    RoutesSettings,
    RoutingSettings,
)

Tree = dict[str, Any]  # key -> str, list[str], or the Tree of a section
Spec = Mapping[str, Mapping[str, Any]]  # section -> option -> its check; a mapping for subsections
Check = Callable[..., Any]  # (check, value, missing=False) -> the value, or the default if missing

MANY = "__many__"  # how the spec says "any name may stand here"


class SectionReader:
    """Takes the sections of ``tree``, reports what is wrong with them, and goes on with what is right.

    ``parent`` is the section they stand in, when they are subsections.
    """

    def __init__(self, tree: Tree, spec: Spec, check: Check, report: Report, parent: str = "") -> None:
        self._sections = {name: section for name, section in tree.items() if isinstance(section, dict)}
        self._spec = spec
        self._run_check = check
        self._report = report
        self._parent = parent
        for name in tree:
            if name not in spec:
                self._report_unknown_at_top(name)
            elif name not in self._sections:
                report.add("", name, f"is a section; write [{name}] and its options below")

    def values(self, section: str) -> dict[str, Any]:
        """Return the value of every option: checked, or the default where it is faulty or absent."""
        spec, given = self._spec[section], self._sections.get(section, {})
        values = {key: self._value(section, key, given) for key in spec if key != MANY}
        for key, value in given.items():
            if key in spec and key != MANY:
                continue
            if isinstance(value, dict):
                if not isinstance(spec.get(MANY), Mapping):
                    hint = did_you_mean(key, self._spec.keys(), "[{}]")
                    self._add(section, "", "unknown section" + hint, key)
            elif isinstance(spec.get(MANY), str):
                values[key] = self._check(section, key, spec[MANY], value, "")
            else:
                self._add(section, key, self._unknown(section, key))
        return values

    def pipeline(self) -> PipelineSettings:
        """Return the [pipeline] section: its own options, the aliases, and the options of aliases."""
        values = self.values("pipeline")
        known = {key: values.pop(key) for key in self._spec["pipeline"] if key != MANY}
        options: dict[str, dict[str, str]] = {}
        for key in [key for key in values if "." in key]:
            alias, _, option = key.partition(".")
            del values[key]
            # Not what the check of an option makes of it: blanks, too, are the filter's.
            options.setdefault(alias, {})[option] = self._sections["pipeline"][key]
        return PipelineSettings(**known, aliases=values, options=options)

    def middleware_sections(self) -> dict[str, RawOptions]:
        """Return the [[name]] sections as written; what their options mean is for the middleware to say."""
        given = self._sections.get("middleware", {})
        sections: dict[str, RawOptions] = {
            name: options for name, options in given.items() if isinstance(options, dict) and name != "stack"
        }
        for name, options in sections.items():
            for key, value in options.items():
                if isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
                    self._report.add("middleware", key, "holds a section; one more level is too deep", name)
            target = options.get("class", "-")
            if not isinstance(target, str) or not target:
                self._report.add("middleware", "class", "takes one dotted.Class", name)
        return sections

    def certificates(self) -> dict[str, CertificateSettings]:
        """Return the [[name]] sections of [ssl]."""
        return {name: CertificateSettings(**values) for name, values in self._subsections("ssl")}

    def clusters(self) -> ClustersSettings:
        """Return the [clusters] section, which has nothing but [[name]] sections."""
        self.values("clusters")
        clusters = {name: ClusterSettings(**values) for name, values in self._subsections("clusters")}
        for name in clusters:
            given = self._sections["clusters"][name]
            if not any(given.get(key) for key in ("servers", "servers_file", "resolver")):
                self._report.add(
                    "clusters", "servers", "names none; write one such as http://localhost:80", name
                )
        return ClustersSettings(clusters)

    def routes(self) -> RoutesSettings:
        """Return the [routes] section, which has nothing but [[name]] sections."""
        self.values("routes")
        return RoutesSettings({name: RouteSettings(**values) for name, values in self._subsections("routes")})

    def routing(self) -> RoutingSettings:
        """Return the [routing] section; where there are routes, only servers that it names are servers."""
        values = self.values("routing")
        if self._sections.get("routes") and "upstream_hosts" not in self._sections.get("routing", {}):
            values["upstream_hosts"] = ()
        return RoutingSettings(**values)

    def _subsections(self, section: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the [[name]] sections of one that describes them, with the value of every option."""
        given = self._sections.get(section, {})
        sections = {name: options for name, options in given.items() if isinstance(options, dict)}
        for name in self._spec[section]:
            sections.pop(name, None)  # [[cert_file]] is no section, which was said already
        options: Mapping[str, Any] = self._spec[section][MANY]
        spec = dict.fromkeys(sections, options)
        inner = SectionReader(sections, spec, self._run_check, self._report, section)
        yield from ((name, inner.values(name)) for name in sections)

    def _add(self, section: str, key: str, reason: str, subsection: str = "") -> None:
        path = [part for part in (self._parent, section, subsection) if part]
        self._report.add(path[0], key, reason, "]] [[".join(path[1:]))

    def _value(self, section: str, key: str, given: Tree) -> Any:
        check = self._spec[section][key]
        default = self._run_check(check, None, missing=True)
        return self._check(section, key, check, given[key], default) if key in given else default

    def _check(self, section: str, key: str, check: str, value: Any, default: Any) -> Any:
        if isinstance(value, dict):
            self._add(section, key, f"is an option; write {key} = value")
            return default
        try:
            return self._run_check(check, value)
        except ValueError as error:
            self._add(section, key, str(error))
            return default

    def _report_unknown_at_top(self, name: str) -> None:
        if name in self._sections:
            self._report.add(name, "", "unknown section" + did_you_mean(name, self._spec.keys(), "[{}]"))
        else:
            self._report.add("", name, f"stands outside any section{self._owner(name)}")

    def _unknown(self, section: str, key: str) -> str:
        known = [name for name in self._spec[section] if name != MANY]
        if section == "middleware":
            hint = did_you_mean(key, known)
            return (
                f"unknown option{hint}"
                if hint
                else f"unknown option; [[{key}]] begins a middleware's section"
            )
        described = self._spec[section].get(MANY)
        if isinstance(described, Mapping) and key in described:
            return "unknown option; it belongs in a [[name]] section"
        return "unknown option" + (did_you_mean(key, known) or self._owner(key))

    def _owner(self, key: str) -> str:
        owners = [section for section, options in self._spec.items() if key in options]
        return f"; it belongs in [{owners[0]}]" if owners else ""
