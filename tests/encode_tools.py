"""Stands in for the module's ``encode`` where a head is tested alone."""


def one_or_several(encode):
    """Let a function that encodes one side take a list of sides too, as the module's does."""

    def every(sides, layer=None, first=False):
        return (
            [encode(side, layer, first) for side in sides] if isinstance(sides, list) else encode(sides, layer, first)
        )

    return every
