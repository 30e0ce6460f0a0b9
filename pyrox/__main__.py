"""``python -m pyrox``."""

import sys

from pyrox.cli import main

sys.exit(main())
