"""The composition root: settings -> database -> faces -> listeners, and an orderly end.

Only it and the command line read the environment."""
