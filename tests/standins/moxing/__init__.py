"""A stand-in for ModelArts' moxing, with the published signatures of what the zoo uses.

They are those of huaweicloud/ModelArts-Lab's documents. obs://bucket/x is $MOXING_BUCKETS/bucket/x.
"""

from moxing import file

__all__ = ["file"]
