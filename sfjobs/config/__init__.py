"""What sfjobs needs to know before it can talk to a platform: ``Settings``, and ``Secret`` for what must not be seen."""

from .editing import store_profile as store_profile
from .folders import own_folder as own_folder
from .keys import KeyringEntry as KeyringEntry
from .keys import check_keyring as check_keyring
from .secret import Secret as Secret
from .settings import DEFAULT_PROFILE as DEFAULT_PROFILE
from .settings import Settings as Settings
from .settings import SettingsArguments as SettingsArguments
from .settings import config_path as config_path
from .settings import known_cache as known_cache
from .settings import known_url as known_url
