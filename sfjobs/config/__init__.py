"""
The settings of a connection: ``Settings``, and ``Secret`` for keys and tokens.

    settings   Settings: arguments, environment, configuration file and defaults merged
    values     one value: its source, its checks and its error messages
    file       reads our configuration file
    editing    writes a profile into it
    foreign    reads the settings of xanadu-cloud-client and Strawberry Fields
    keys       an API key in the system's keyring
    secret     Secret: a text that repr, tracebacks and pickles do not show
    folders    the user's own folders
"""

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
