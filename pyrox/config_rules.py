"""What no option can know by itself: rules between options, and between options and this machine."""

from __future__ import annotations

from collections.abc import Iterator

from pyrox.config_report import did_you_mean
from pyrox.log_format import validate_format
from pyrox.settings import PipelineSettings, Settings, SslSettings

Problem = tuple[str, str, str]  # section, key, reason

_NO_FILTERS = (
    "filters of Pyrox 0.4 and 0.5 are not implemented in this release; "
    "empty it, and put a middleware into [middleware] stack instead"
)


def broken_rules(settings: Settings) -> Iterator[Problem]:
    """Yield every rule that ``settings`` breaks."""
    if settings.core.enable_profiling:
        yield "core", "enable_profiling", "profiling is not implemented in this release; set it to no"
    yield from _tls_problems(settings.ssl)
    yield from _pipeline_problems(settings.pipeline)
    yield from _limit_problems(settings)
    if reason := _format_problem(settings.logging.access_log_format):
        yield "logging", "access_log_format", reason
    if settings.upstream.ca_file is not None and (reason := _authorities_problem(settings.upstream.ca_file)):
        yield "upstream", "ca_file", reason


def _limit_problems(settings: Settings) -> Iterator[Problem]:
    limits = settings.limits
    if limits.request_line > limits.head_size:
        yield "limits", "request_line", f"{limits.request_line} is more than head_size, {limits.head_size}"
    if limits.chunk_extension > limits.chunk_extensions:
        bound = f"chunk_extensions, {limits.chunk_extensions}"
        yield "limits", "chunk_extension", f"{limits.chunk_extension} is more than {bound}"


def _pipeline_problems(pipeline: PipelineSettings) -> Iterator[Problem]:
    for key, listed in (("upstream", pipeline.upstream), ("downstream", pipeline.downstream)):
        for alias in dict.fromkeys(listed):
            if alias not in pipeline.aliases:
                hint = did_you_mean(alias, list(pipeline.aliases))
                yield "pipeline", key, f"{alias!r} is not defined by an option {alias} = dotted.Class{hint}"
        if listed:
            yield "pipeline", key, _NO_FILTERS
    for alias, target in pipeline.aliases.items():
        if not target:
            yield "pipeline", alias, "names no class; write dotted.Class"
    for alias, options in pipeline.options.items():
        if alias not in pipeline.aliases:
            key = f"{alias}.{next(iter(options))}"
            yield "pipeline", key, f"{alias!r} is not defined{did_you_mean(alias, list(pipeline.aliases))}"


def _tls_problems(tls: SslSettings) -> Iterator[Problem]:
    if tls.cert_file is None and tls.key_file is None:
        return
    if tls.key_file is None:
        yield "ssl", "key_file", "is missing; cert_file needs its private key"
    elif tls.cert_file is None:
        yield "ssl", "cert_file", "is missing; key_file needs its certificate"
    else:
        yield from _certificate_problems(tls.cert_file, tls.key_file)


def _certificate_problems(cert_file: str, key_file: str) -> Iterator[Problem]:
    unreadable = False
    for key, path in (("cert_file", cert_file), ("key_file", key_file)):
        if reason := _unreadable(path):
            unreadable = True
            yield "ssl", key, reason
    if unreadable:
        return
    import ssl

    try:
        # Without a callback OpenSSL would ask for the passphrase on the terminal.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert_file, key_file, password=lambda: b"")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        yield (
            "ssl",
            "cert_file",
            f"{cert_file!r} and {key_file!r} are no usable certificate and key: {reason}",
        )


def _authorities_problem(path: str) -> str:
    if reason := _unreadable(path):
        return reason
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        return f"{path!r} holds no usable certificate: {error.reason or error}"  # type: ignore[attr-defined]
    return ""


def _unreadable(path: str) -> str:
    """Return why the file cannot be read, or ``""``."""
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        return f"{path!r} cannot be read: {error.strerror}"
    return ""


def _format_problem(log_format: str) -> str:
    try:
        validate_format(log_format)
    except ValueError as error:
        return str(error)
    return ""
