"""What the tests of reduct-py demand of a server, demanded of `lamina.reduct`: of a server, and of a directory.

The tests themselves are those of test_reduct_py and test_reduct_py_queries, with the import changed.
"""

from compat.lamina_reduct import reduct, retargeted

__all__ = ["reduct"]

ELSEWHERE = {
    "test_query_links": "somebody has to serve the link: test_lamina_reduct_connections",
    "test_parameters_that_the_package_no_longer_sends": "ours sends them: test_lamina_reduct_modes",
}
"""Tests that say something else of our classes, or of a directory, and where it is tested."""

globals().update(retargeted("test_reduct_py"))
globals().update(retargeted("test_reduct_py_queries", ELSEWHERE))
