"""Import paths of Pyrox 0.4 and 0.5; see ``pyrox.util.config``."""
