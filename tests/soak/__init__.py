"""Long runs that are no part of the tests: what may fail once in ten thousand requests shows here."""
