"""The example's own tests need it installed; ``tests/test_example_plugin.py`` installs it and runs them."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("kronosfw_ewma") else ["kronosfw-ewma"]
