"""One module for each page: a view model made from the store, and the addresses that show it."""
