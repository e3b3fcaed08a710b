"""The groups that a customer declares to belong to, as far as the shop asks for them: for fairness reports alone.

They are looked up when a label or an outcome is told, not before: nothing that scores or decides has them, and what a
customer has withdrawn by then is used no more.
"""

from collections.abc import Sequence

from stream_app.core.state import ProfileState


def declared_groups(profile: ProfileState | None, attributes: Sequence[str]) -> dict[str, str]:
    """Return the value of each of these attributes that the profile states; the others are left out."""
    if profile is None or not attributes:
        return {}
    return {name: value for name, value in profile.attributes if name in attributes and value}
