"""Foreign recordings in: each importer is one file, reads lazily in bounded memory, and accounts for everything it read."""
