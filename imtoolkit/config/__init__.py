"""What a user may write: frozen dataclasses, loading, validation, the index of components, dumping."""
