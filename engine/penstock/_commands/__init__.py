"""What the command line does; only `penstock.cli` imports it.

failure      ends a command with a line, never with a traceback
plugins      the group of commands, those of other packages included
progress     a running pipeline, live on a terminal or a line a second
outcome      a finished run for people and as JSON
attended     a pipeline run under signals: the first drains, the second cancels
conversation what was said to a model and by it, bounded
talk         a terminal, or lines of a script, as a side of a conversation
dialogue     questions and answers, one after the other
run, check, graph, tail, chat    the commands
"""
