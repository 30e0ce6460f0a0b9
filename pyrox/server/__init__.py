"""Import paths of Pyrox 0.4 and 0.5; see ``pyrox.server.config``. The server itself is in ``pyrox.green``."""
