"""Message classes compiled from ../proto by grpcio-tools; `tests/test_generated.py` checks that they are current."""
