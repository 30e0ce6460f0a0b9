"""Search with atheris: ``python -m tests.fuzz.fuzz_http -max_total_time=600`` (pip install pyrox[fuzz]).

Arguments are libFuzzer's; a directory among them keeps what was found between runs. Without one the
search starts from ``seeds`` in a directory of its own. An input that breaks a promise is written to
``crash-*`` and ends the search with a traceback.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pyrox"]):
    from tests.fuzz import targets
    from tests.fuzz.seeds import SEEDS


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="pyrox-fuzz-") as directory:
        for number, seed in enumerate(SEEDS):
            Path(directory, f"seed-{number:03}").write_bytes(seed)
        # libFuzzer leaves by _exit, so it runs in a child and somebody is left to remove the directory.
        child = os.fork()
        if not child:
            # The first directory is the one libFuzzer writes to: the caller's, if there is one.
            atheris.Setup([*sys.argv, directory], targets.check)
            atheris.Fuzz()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
