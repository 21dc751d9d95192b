"""``python -m xmit.memory``: the table of docs/memory.md, from the folder that holds ``configs``."""

from xmit.memory.table import print_table

if __name__ == "__main__":
    print_table()
