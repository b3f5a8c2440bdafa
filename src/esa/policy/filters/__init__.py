"""The language of message filters: text to tree (`read`), tree to text (`write`), and what is compiled of it (`plan`)."""
