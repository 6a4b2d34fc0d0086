"""What every room uses and no room owns: errors, files, the terminal, pages, processes."""
