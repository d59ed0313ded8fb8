"""Tools that try to make Lamina lose or mix up what it acknowledged; docs/reliability.md has the commands."""
