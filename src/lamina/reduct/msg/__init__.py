"""What the API sends and takes as JSON, as pydantic models: validated, comparable, `model_dump()`.

Members that a newer server adds are ignored.
"""
