"""Windows over the items of each key.

`window` says what a window is, `aggregates` what is made of its items. The windows that are open
are kept by `panes` (tumbling and sliding windows), `sessions` and `counts`, which know neither Trio
nor a channel: they take items and tell what is to be done. `task` does it.
"""
