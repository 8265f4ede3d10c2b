"""Speed of the zoo beside other engines, all in one run."""
