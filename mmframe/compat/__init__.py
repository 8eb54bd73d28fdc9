"""Other packages' classes as faces of the framework: they translate, and hold no likelihood code of their own."""
