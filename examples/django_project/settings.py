"""Settings that read DATABASE_URL at import, as in most projects. Before that, pgtrace_env in
pytest.ini makes it point to pgtrace."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

_URL = urlsplit(os.environ["DATABASE_URL"])

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _URL.hostname,
        "PORT": _URL.port,
        "USER": unquote(_URL.username or ""),
        "PASSWORD": unquote(_URL.password or ""),
        "NAME": _URL.path.lstrip("/"),
    }
}
INSTALLED_APPS = ["shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
SECRET_KEY = "of an example"
