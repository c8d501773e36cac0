"""The encodings of columns: each turns a column into float32 columns.

Each encoding is a frozen record of numbers: a function fits it, model files hold it as plain
arrays, and it is so simple (affine, clip, look up) that another runtime can repeat it.
"""

from xpnet.tabular.category_encoding import CategoryEncoding
from xpnet.tabular.level_encoding import LevelEncoding
from xpnet.tabular.number_encoding import NumberEncoding
from xpnet.tabular.text_encoding import TextEncoding

Encoding = NumberEncoding | LevelEncoding | CategoryEncoding | TextEncoding
