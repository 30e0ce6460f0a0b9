"""``negotiate``: which media type, language and version a client gets, decided before upstream is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pyrox.errors import HTTPError
from pyrox.http.accept import (
    MediaType,
    add_vary,
    choose_language,
    choose_media,
    field_value,
    parse_choices,
    remembering,
)
from pyrox.http.body import known_length
from pyrox.http.error_response import answer_headers
from pyrox.http.field_names import CONNECTION_FIELDS
from pyrox.http.headers import Headers, is_token, make_field
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.routing.templates import Rewriting

_is_version = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}").fullmatch
_is_language = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*").fullmatch


class Choices(NamedTuple):
    """What a request gets; ``""`` where that is not negotiated."""

    version: str
    language: str
    media_type: str


class Negotiate(Middleware):
    """Chooses media type, language and version from what the client accepts and the service has.

    What is chosen can be told upstream in a field, put in front of the path, or decide where the request
    goes. A client that takes nothing of what there is gets 406, a request body that is not wanted 415,
    both with the list of what would do; a language that there is not gets the default one. Responses, also
    those to errors, say in Vary what they depend on.

    * ``media_types``: what the service can answer with, the default first. Default none: anything.
    * ``consumes``: what request bodies may be, ``application/json`` or ``image/*``. Default none: anything.
    * ``languages``: language tags, the default first; found by RFC 4647's lookup. Default none.
    * ``versions``: versions of the service, the default first. Default none.
    * ``vendor``: with ``acme``, ``application/vnd.acme.v2+json`` in Accept asks for application/json of
      version 2, and so does ``application/vnd.acme+json;version=2``. Default none.
    * ``version_header``: a request field that names the version, and counts before Accept. Default none.
    * ``media_type_to``, ``language_to``, ``version_to``: request fields that tell upstream the choice; what
      the client sent in them is replaced. Default none.
    * ``prefix``: a subsection of what goes in front of the path, ``2 = /v2`` or ``de = /de``; version first,
      then language, then media type.
    * ``route``: a subsection of clusters or servers to ask, ``2 = users_v2``; the first in the same order.
    """

    def __init__(
        self,
        app: App,
        media_types: Sequence[str] = (),
        consumes: Sequence[str] = (),
        languages: Sequence[str] = (),
        versions: Sequence[str] = (),
        vendor: str = "",
        version_header: str = "",
        media_type_to: str = "",
        language_to: str = "",
        version_to: str = "",
        prefix: Mapping[str, str] | None = None,
        route: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(app)
        if not (media_types or consumes or languages or versions):
            raise ValueError("media_types: nothing is negotiated; say what there is, or leave negotiate out")
        _check_media_types("media_types", media_types)
        _check_media_types("consumes", consumes)
        _check_languages(languages)
        _check_versions(versions, vendor, version_header, bool(media_types))
        self._media = _Media(media_types, versions, vendor)
        self._consumes = tuple(name.lower() for name in consumes)
        self._languages, self._versions = tuple(languages), tuple(versions)
        self._language = remembering(self._choose_language)
        self._version_header = _field_name("version_header", version_header)
        self._told = [
            (place, _field_name(option, name))
            for place, option, name in (
                (0, "version_to", version_to),
                (1, "language_to", language_to),
                (2, "media_type_to", media_type_to),
            )
            if name
        ]
        served = {*versions, *languages, *(media.lower() for media in media_types)}
        self._prefixes = {key: _rewriting(key, path, served) for key, path in (prefix or {}).items()}
        self._routes = {key: _destination(key, name, served) for key, name in (route or {}).items()}
        self._vary = [
            *(["Accept"] if media_types else []),
            *(["Accept-Language"] if languages else []),
            *([version_header] if version_header else []),
        ]

    @classmethod
    def destinations(cls, options: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        return [("route", name) for name in (options["route"] or {}).values()]

    def __call__(self, request: Request) -> Response:
        try:
            if self._consumes and known_length(request) != 0:
                self._check_body(request)
            self._apply(request, self._choose(request))
            response = self.app(request)
        except Exception as error:
            add_vary(answer_headers(error), *self._vary)
            raise
        add_vary(response.headers, *self._vary)
        return response

    def _choose(self, request: Request) -> Choices:
        headers = request.headers
        version, media_type = self._media.choose(headers)
        language = self._language(field_value(headers, "accept-language") or "") if self._languages else ""
        named = field_value(headers, self._version_header) if self._version_header else None
        if named is not None:
            if named not in self._versions:
                raise HTTPError(406, f"there are the versions {', '.join(self._versions)}")
            version = named
        return Choices(version, language, media_type)

    def _choose_language(self, accepted: str) -> str:
        return choose_language(parse_choices(accepted), self._languages) or self._languages[0]

    def _apply(self, request: Request, choices: Choices) -> None:
        for place, name in self._told:
            request.headers[name] = choices[place]
        if self._prefixes:
            for choice in reversed(choices):
                if choice in self._prefixes:
                    request.target = self._prefixes[choice].rewrite(request.target)
        for choice in choices if self._routes else ():
            if choice in self._routes:
                request.route_to(self._routes[choice])
                break

    def _check_body(self, request: Request) -> None:
        lines = request.headers.get_all("content-type")
        name = lines[0].partition(";")[0].strip().lower() if len(lines) == 1 else ""
        family, slash, _ = name.partition("/")
        if name in self._consumes or f"{family}{slash}*" in self._consumes:
            return
        listed = ", ".join(self._consumes)
        # RFC 9110 15.5.16 and 12.5.1: Accept in a response says what a request may be; RFC 5789 2.2.
        patch = {"Accept-Patch": listed} if request.method == "PATCH" else {}
        raise HTTPError(415, f"a body may be {listed}", {"Accept": listed, **patch})


class _Media:
    """The media types that may be asked for, and what each of them means."""

    def __init__(self, media_types: Sequence[str], versions: Sequence[str], vendor: str) -> None:
        default = versions[0] if versions else ""
        self._offered: list[MediaType] = []
        self._meanings: list[tuple[str, str]] = []  # version, media type
        for name in media_types:
            self._offer(name, default, name)
        for name in media_types if vendor else ():
            family, _, kind = name.lower().partition("/")
            own = f"{family}/vnd.{vendor.lower()}"
            self._offer(f"{own}+{kind}", default, name)
            for version in versions:
                self._offer(f"{own}.v{version}+{kind}", version, name)
                self._offer(f"{own}+{kind};version={version}", version, name)
        self._default = default
        self._place = remembering(lambda accept: choose_media(parse_choices(accept), self._offered))

    def _offer(self, asked_for: str, version: str, media_type: str) -> None:
        self._offered.append(MediaType.parse(asked_for))
        self._meanings.append((version, media_type))

    def choose(self, headers: Headers) -> tuple[str, str]:
        """Return version and media type; raises 406 when there is nothing that Accept takes."""
        if not self._offered:
            return self._default, ""
        place = self._place(field_value(headers, "accept") or "")
        if place is None:
            raise HTTPError(406, f"this is served as {self._all()}")
        return self._meanings[place]

    def _all(self) -> str:
        parameters = (";".join(["", *media.parameters]) for media in self._offered)
        return ", ".join(media.name + more for media, more in zip(self._offered, parameters, strict=True))


def _check_media_types(option: str, names: Sequence[str]) -> None:
    for name in names:
        try:
            parsed = MediaType.parse(f"{name[:-1]}x" if option == "consumes" and name[-2:] == "/*" else name)
        except ValueError as error:
            raise ValueError(f"{option}: {error}") from None
        if parsed.parameters:
            raise ValueError(f"{option}: {name!r} has a parameter; leave it out")


def _check_languages(languages: Sequence[str]) -> None:
    for language in languages:
        if not _is_language(language):
            raise ValueError(f"languages: {language!r} is no language tag like de or zh-Hant")


def _check_versions(versions: Sequence[str], vendor: str, header: str, has_media_types: bool) -> None:
    for version in versions:
        if not _is_version(version):
            raise ValueError(f"versions: {version!r} may have letters, digits, dots and dashes only")
    if (vendor or header) and not versions:
        raise ValueError("versions: vendor and version_header need to know which versions there are")
    if versions and not (vendor or header):
        raise ValueError("versions: no client could ask for one; set vendor or version_header")
    if vendor and not (has_media_types and _is_version(vendor)):
        raise ValueError(
            f"vendor: {vendor!r} needs media_types, and to be a name of letters, digits and dots"
        )


def _field_name(option: str, name: str) -> str:
    if name and (not is_token(name) or make_field(name, "")[0] in CONNECTION_FIELDS):
        raise ValueError(f"{option}: {name!r} is no field that a request can have here")
    return name


def _is_served(option: str, key: str, served: set[str]) -> None:
    if key not in served:
        raise ValueError(f"{option}: {key!r} is none of what there is: {', '.join(sorted(served))}")


def _rewriting(key: str, path: str, served: set[str]) -> Rewriting:
    _is_served("prefix", key, served)
    if not re.fullmatch(r"/[!-~]*", path) or any(mark in path for mark in "?#"):
        raise ValueError(f"prefix: {path!r} is no path; it begins with / and has no ?, # or blank")
    return Rewriting(add=path)


def _destination(key: str, destination: str, served: set[str]) -> str:
    _is_served("route", key, served)
    try:
        Request("GET", "/").route_to(destination)
    except ValueError as error:
        raise ValueError(f"route: {str(error).removeprefix('route_to: ')}") from None
    return destination
