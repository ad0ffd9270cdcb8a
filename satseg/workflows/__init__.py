"""One function per command: plain arguments in, a record out, nothing printed."""
