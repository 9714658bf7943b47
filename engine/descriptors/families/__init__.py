"""Networks of other libraries, opened by their names; each family is a module that registers it."""
