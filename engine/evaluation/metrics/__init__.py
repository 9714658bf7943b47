"""The field's metrics as functions of arrays: no images, no files, no torch.

Each module holds one metric or a few that share their input; its docstring gives the definition and
its source.  :mod:`engine.metrics` lists their names, and docs/PROTOCOLS.md explains them.
"""
