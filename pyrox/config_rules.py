"""What no option can know by itself: rules between options, and between options and this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pyrox.config_report import did_you_mean
from pyrox.config_rules_process import process_problems
from pyrox.log_format import validate_format
from pyrox.settings import PipelineSettings, Settings, SslSettings

Problem = tuple[str, str, str]  # section, key, reason


def broken_rules(settings: Settings) -> Iterator[Problem]:
    """Yield every rule that ``settings`` breaks."""
    if missing := [path for path in settings.core.plugin_paths if not os.path.isdir(path)]:
        yield "core", "plugin_paths", "; ".join(f"{path!r} is not a directory" for path in missing)
    if settings.core.enable_profiling:
        yield "core", "enable_profiling", "profiling is not implemented in this release; set it to no"
    yield from process_problems(settings.core)
    yield from _tls_problems(settings.ssl)
    yield from contradictions(settings)
    if settings.upstream.ca_file is not None and (reason := _authorities_problem(settings.upstream.ca_file)):
        yield "upstream", "ca_file", reason


def contradictions(settings: Settings) -> Iterator[Problem]:
    """Yield the rules that are broken whatever the machine: between the options of a file."""
    yield from _pipeline_problems(settings.pipeline)
    yield from _limit_problems(settings)
    if reason := _format_problem(settings.logging.access_log_format):
        yield "logging", "access_log_format", reason
    if settings.upstream.proxy_protocol != "off" and "demo" in settings.routing.upstream_hosts:
        yield "upstream", "proxy_protocol", "the demo upstream does not understand it; set it to off"


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
    faults = {
        "cert_file": _pem_fault(cert_file, b"CERTIFICATE-----", "certificate"),
        "key_file": _pem_fault(key_file, b"PRIVATE KEY-----", "private key"),
    }
    yield from (("ssl", key, reason) for key, reason in faults.items() if reason)
    if any(faults.values()):
        return
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file)
    except OSError as error:
        yield "ssl", "cert_file", f"{cert_file!r} cannot be used with {key_file!r}: {_tls_reason(error)}"


def _authorities_problem(path: str) -> str:
    if reason := _pem_fault(path, b"CERTIFICATE-----", "certificate"):
        return reason
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        return f"{path!r} cannot be used: {_tls_reason(error)}"
    return ""


def _pem_fault(path: str, mark: bytes, what: str) -> str:
    """Return why the file cannot hold ``what``, or ``""``; OpenSSL itself would only say "PEM lib"."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        return f"{path!r} cannot be read: {error.strerror}"
    if mark not in content:
        return f"{path!r} has no {what} in PEM"
    if what == "private key" and b"ENCRYPTED" in content:
        # OpenSSL would ask for the passphrase on the terminal.
        return f"{path!r} has a passphrase; remove it from the key"
    return ""


def _tls_reason(error: OSError) -> str:
    reason: str = getattr(error, "reason", None) or str(error)
    return "the key is another certificate's" if reason == "KEY_VALUES_MISMATCH" else reason


def _format_problem(log_format: str) -> str:
    try:
        validate_format(log_format)
    except ValueError as error:
        return str(error)
    return ""
