"""Target tasks: trained on English, scored zero-shot in every language."""

__all__: list[str] = []
