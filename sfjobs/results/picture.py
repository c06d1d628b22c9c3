"""A matplotlib figure that shows itself in a notebook, also where no inline backend has been set up. Imports matplotlib."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """Drawn without pyplot, so that no global state is left behind and no window opens."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()
