"""The native API against a server: `lamina.connect` gives a `Database` whose methods are those of `lamina.open`'s.

Each class here stands for one of the engine's, each method prepares its arguments as the engine does and makes a call
of `lamina.wire.calls`; what a call means is known to the server alone. Nothing of the engine is loaded but what
describes its values. docs/connect.md says what is different from a directory.
"""
