"""ReductStore's HTTP API, version 1.21 (contract reductstore): a raw ASGI 3 application over an open database.

face = Face(db, tokens, FaceConfig())        # tokens None: no authentication
uvicorn.Config(face, ...)

Headers, batches and JSON are decoded and encoded here; what happens is the engine's business. No state but queries'
ids, caches of parsed headers and the writes of the present loop tick.
"""

from lamina.faces.reduct.app import Face
from lamina.faces.reduct.config import FaceConfig
from lamina.faces.reduct.jobs import Jobs
from lamina.faces.reduct.observer import Observer

__all__ = ["Face", "FaceConfig", "Jobs", "Observer"]
