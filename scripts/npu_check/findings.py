"""A finding of the check."""

from collections import Counter, namedtuple

# kind: a word. name: of the first operation, layer or function. layer: name of the Keras layer, or
# None where it is unknown. problem, advice: text. count: how many findings are alike.
Finding = namedtuple("Finding", "kind name layer problem advice count")


def merged(findings):
    """Merge findings of the same kind and problem in one layer into one that counts them."""
    counts = Counter((f.kind, f.problem, f.layer) for f in findings)
    first = {}
    for finding in findings:
        first.setdefault((finding.kind, finding.problem, finding.layer), finding)
    return [finding._replace(count=counts[key]) for key, finding in first.items()]
