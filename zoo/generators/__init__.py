"""Generator families: one file each, named by its path. Importing this package imports none of them."""
