"""Dense descriptors: the contract, the list of what exists, and the built-in ones."""
