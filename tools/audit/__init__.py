"""What a change brings with it that a security reviewer would stop at, found by rules that work offline."""
