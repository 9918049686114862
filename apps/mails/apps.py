from django.apps import AppConfig


class MailsConfig(AppConfig):
    name = "apps.mails"
    label = "mails"

    def ready(self) -> None:
        from apps.mails import checks  # noqa: F401  # registers them
