"""Vector code made with LLVM."""
