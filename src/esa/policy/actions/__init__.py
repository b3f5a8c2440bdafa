"""Actions of the filter language, a module for each family. Whatever module offers `actions` is found: see `esa.policy.filters.words`."""
