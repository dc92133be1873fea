"""What the tests of the transforms that find a site share: ways such a transform is used, and what messages hold."""

import pickle
import traceback

import pytest
from monai.transforms import Compose

from fairpool.errors import DataError


def check_leaves_the_item_alone(transform, item, site):
    """The site is added to a copy, every other value is the same object, and a copied transform does the same."""
    given = dict(item)
    result = transform(item)
    assert result == {**given, transform.site_key: site}
    assert item == given
    assert all(result[key] is value for key, value in item.items())
    assert pickle.loads(pickle.dumps(transform))(item)[transform.site_key] == site


def refuse(transform, item, *, kind=DataError, secrets=("meier",)):
    """The message of a refusal, after a search for secrets in it, its causes, and MONAI's own wrapping."""
    with pytest.raises(kind) as caught:
        transform(item)
    with pytest.raises(RuntimeError) as wrapped:
        Compose([transform])(item)
    pending, text = [caught.value, wrapped.value], ""
    while pending:
        error = pending.pop()
        text += "".join(traceback.format_exception_only(error))
        pending += [link for link in (error.__cause__, error.__context__) if link is not None]
    for secret in secrets:
        assert secret.lower() not in text.lower()
    return str(caught.value)
