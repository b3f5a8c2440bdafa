"""Which lines of the native core the tests run: `make coverage`."""
