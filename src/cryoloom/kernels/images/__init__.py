"""Hot loops over single images."""
