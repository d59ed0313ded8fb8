"""Work that a server does by itself: replications, lifecycle policies, what it tells of itself in `$system`.

`Jobs` is the door; `replications` and `lifecycles` are managed through it, `observer` hears of a face's calls.
"""

from lamina.jobs.jobs import Jobs, JobsConfig

__all__ = ["Jobs", "JobsConfig"]
