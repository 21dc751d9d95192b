"""``python -m xmit bench``: this library beside its peers' recipes, on this machine, as ratios.

Every case first checks that both sides compute the same; a case that fails this has no time. Variants are interleaved
and ratios taken within a round, in CPU time of one thread, which bears other load on the machine. Weights are random
and nothing is downloaded.
"""
