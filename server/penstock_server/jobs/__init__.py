"""Jobs: a pipeline per request, on a log of its own, that outlives the connection it came by.

- ``options``: what ``Server.job(…)`` can be told
- ``job``: what is declared: a function from a request's body to a stream
- ``run``: one run of it: its log, its readers, how it ends
- ``kept``: the finished runs, for their time
- ``board``: all runs of a server: started, found, cancelled, forgotten
"""

from .board import RETRY_AFTER, JobNotRunning, Jobs, TooManyJobs
from .job import Conclusion, Job
from .options import JOB_RETENTION, JobOptions
from .run import JobRun, Status

__all__ = [
    "JOB_RETENTION",
    "RETRY_AFTER",
    "Conclusion",
    "Job",
    "JobNotRunning",
    "JobOptions",
    "JobRun",
    "Jobs",
    "Status",
    "TooManyJobs",
]
