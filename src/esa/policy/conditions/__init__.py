"""Conditions of the filter language, a module for each family. Whatever module offers `conditions` is found: see `esa.policy.filters.words`."""
