"""The commands of `aep-flow-exporter`: one module each, with its settings, its help text and its `run`.

`main` is the entry point. A new command is one new module here, and its name in COMMANDS in `main`.
"""
