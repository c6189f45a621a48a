"""What is put on an image, as recipes for an image of any size. One kind, one file."""
