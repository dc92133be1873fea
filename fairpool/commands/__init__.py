"""The commands of the command line, one a file: each reads arguments, calls the library, prints."""
