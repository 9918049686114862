from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "apps.config"
    label = "config"

    def ready(self) -> None:
        # Importing the module registers its checks; before this point settings may not be complete.
        from apps.config import checks  # noqa: F401
