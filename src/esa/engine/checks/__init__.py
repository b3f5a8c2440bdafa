"""One fact a file. A check is found by walking this package; its name is at once a word of the policy language."""
