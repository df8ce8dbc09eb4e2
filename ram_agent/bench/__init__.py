"""How fast everything is here, and how much memory it takes: `ram-agent bench`.

Imports nothing: `footprint` measures what a process weighs before torch is in it.
"""
