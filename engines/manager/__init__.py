"""The life of models: which are loaded, which make room, who waits for how long.

`manager.Manager.ensure_ready` is the only way in. docs/lifecycle.md tells how it decides.
"""
