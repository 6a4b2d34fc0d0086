"""A run: its folder, how it goes on, its tables, its history, and what comparing needs."""
