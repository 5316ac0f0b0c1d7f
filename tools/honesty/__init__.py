"""Whether the tests of a change are honest: what they lost, what they show, and which mutants they let live."""
