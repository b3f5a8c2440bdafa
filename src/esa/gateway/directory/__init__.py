"""Sources of recipients: who says which addresses there are."""
