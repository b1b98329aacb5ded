"""What the command line does; only `penstock.cli` imports it.

failure      ends a command with a line, never with a traceback
plugins      the group of commands, those of other packages included
progress     a running pipeline, live on a terminal or a line a second
outcome      a finished run for people and as JSON
attended     a pipeline run under signals: the first drains, the second cancels
run, check, graph, tail    the commands
"""
