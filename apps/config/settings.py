"""Every setting of the appliance, read once, top to bottom.

What the operator decides at install time is an environment variable and is read here; what an
administrator changes while it runs (plans, keys, models) is a row. `deploy/env.example` lists
every variable with the same comments.
"""

from __future__ import annotations

from apps.config.database import database_settings
from apps.config.env import (
    env_bool,
    env_choice,
    env_float,
    env_int,
    env_list,
    env_optional_secret,
    env_pairs,
    env_path,
    env_secret,
    env_str,
)
from apps.config.log import logging_settings
from apps.config.version import REPOSITORY_ROOT, VERSION

# --- Identity of this installation ---

# Of the appliance, as its pages show it.
APPLIANCE_VERSION = VERSION
# Folder that holds all state apart from an external database: artifacts, models, logs, secrets.
HOME_DIR = env_path("DARKROOM_HOME", str(REPOSITORY_ROOT / "var"))
# Signs sessions, artifact URLs and webhooks. Changing it signs everybody out, breaks open links, makes every
# account ask for a new webhook secret, and closes what is sealed with it: keys of Stripe, secrets of sign-in
# providers, codes of second factors (deploy/docs/customers.md).
SECRET_KEY = env_secret("DARKROOM_SECRET_KEY")
# Keyed hash of API keys. Changing it invalidates every key.
API_KEY_PEPPER = env_secret("DARKROOM_KEY_PEPPER")
# Port of the web server on this machine.
PORT = env_int("DARKROOM_PORT", 8000, minimum=1, maximum=65535)
# What clients type before `/api/...`; artifact links start with it. Set it when a proxy is in front.
BASE_URL = env_str("DARKROOM_BASE_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
# Host names the web process answers to.
ALLOWED_HOSTS = env_list("DARKROOM_ALLOWED_HOSTS", "*")
# Whether the API reference and the guides are open to whoever reaches the server; they tell of the product
# and nothing of this installation. If not, they want a session of the console or an API key.
PUBLIC_DOCS = env_bool("DARKROOM_PUBLIC_DOCS", True)
# Tracebacks in responses. Never on a machine others can reach.
DEBUG = env_bool("DARKROOM_DEBUG", False)

# --- Django ---

INSTALLED_APPS = [
    "apps.console.site.ConsoleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_q",
    "rest_framework",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "apps.core",
    "apps.audit",
    "apps.mails",
    "apps.accounts",
    "apps.apikeys",
    "apps.plans",
    "apps.quotas",
    "apps.billing",
    "apps.catalog",
    "apps.artifacts",
    "apps.webhooks",
    "apps.generation",
    "apps.payments",
    "apps.api",
    "apps.retention",
    "apps.sla",
    "apps.metrics",
    "apps.portal",
    "csp",
    "django_htmx",
    "apps.console",
    "apps.config",
]
MIDDLEWARE = [
    "apps.core.middleware.RequestIdMiddleware",
    "apps.metrics.middleware.HttpCountersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.config.csp.HtmlPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "apps.portal.language.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "apps.config.urls"
WSGI_APPLICATION = "apps.config.wsgi.application"
# No path of the contract ends in a slash, and a redirect on POST breaks clients.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [REPOSITORY_ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.portal.context.portal",
            ],
        },
    },
]
# PostgreSQL everywhere: postgresql://user:password@host/name, or ?host=/socket/folder for a socket.
DATABASE_URL = env_str("DATABASE_URL", "")
# Most connections one web process opens; waiters hold none, so a few dozen serve a thousand threads.
# 0 is no pool: right for every process that forks, since a pool's threads do not survive a fork.
DATABASE_POOL_SIZE = env_int("DARKROOM_DATABASE_POOL_SIZE", 0, minimum=0, maximum=500)
DATABASES = {"default": database_settings(DATABASE_URL, pool_size=DATABASE_POOL_SIZE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "apps.accounts.passwords.GuessedPasswordValidator"},
    {"NAME": "apps.accounts.passwords.BreachedPasswordValidator"},
]
LANGUAGE_CODE = "en"
# Those the portal speaks, each by its own name; the API, its reference and the console speak English.
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
# The second holds words in place of allauth's own, which are in another style, and in German in two.
LOCALE_PATHS = [REPOSITORY_ROOT / "apps/portal/locale", REPOSITORY_ROOT / "apps/portal/wording"]
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = BASE_URL.startswith("https://")
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = HOME_DIR / "static"
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "apps.portal.assets.VersionedStaticFiles"},
}
# No inline script or style: what somebody smuggles into a page does not run; nothing comes from elsewhere.
# data: and blob: are pictures that a page makes itself. The docs and the console have policies of their own.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = BASE_URL.startswith("https://")
CSRF_COOKIE_SECURE = BASE_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [BASE_URL]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BASE_URL.startswith("https://") else None
# Largest request body. A 20 MB image is 27 MB of base64; two of them and a mask do not arrive in one request.
MAX_BODY_BYTES = env_int("DARKROOM_MAX_BODY_BYTES", 40_000_000, minimum=1_000_000, maximum=1_000_000_000)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
LOGGING = logging_settings(
    level=env_choice("DARKROOM_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
    # Lines for people, or one JSON object a line for whatever collects logs: text or json.
    line_format=env_choice("DARKROOM_LOG_FORMAT", "text", ("text", "json")),
)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}

# --- Watching ---

# What Prometheus sends to /metrics as a bearer token; without one, only this machine's programs may read.
METRICS_TOKEN = env_optional_secret("DARKROOM_METRICS_TOKEN")
# Certificate (PEM) of the proxy in front, whose end the console and the metrics tell of.
TLS_CERTIFICATE = env_str("DARKROOM_TLS_CERTIFICATE", "")
# File that whatever makes backups touches after each success; its date is the last backup's.
BACKUP_STAMP = env_path("DARKROOM_BACKUP_STAMP", str(HOME_DIR / "backup-succeeded"))
# Writes down what processes have counted.
COUNTERS_STORE = "apps.metrics.storing.store_taken"

# --- Generation ---

# Longest a synchronous request waits for its image, in seconds; third-party clients give up at 30.
SYNC_WAIT_S = env_float("DARKROOM_SYNC_WAIT_S", 25.0, minimum=0.0, maximum=600.0)
# Longest a request of the OpenAI dialect waits, in seconds; then its job is canceled. Its clients wait 600.
OPENAI_WAIT_S = env_float("DARKROOM_OPENAI_WAIT_S", 600.0, minimum=1.0, maximum=24 * 3600.0)
# Longest a request of the AUTOMATIC1111 dialect waits, in seconds; then its job is canceled.
A1111_WAIT_S = env_float("DARKROOM_A1111_WAIT_S", 3600.0, minimum=1.0, maximum=24 * 3600.0)
# What OpenAI's model names mean here: dall-e-3=sdxl,gpt-image-1=flux; `default` is all others of theirs.
OPENAI_MODELS = env_pairs("DARKROOM_OPENAI_MODELS", "")
# Model of ModelsLab's realtime endpoints, which name none; empty: the fast one that is used most.
REALTIME_MODEL = env_str("DARKROOM_REALTIME_MODEL", "")
# Most requests of one web process that wait at once; above it the answer is `processing` straight away.
MAX_WAITERS = env_int("DARKROOM_MAX_WAITERS", 900, minimum=1, maximum=10_000)
# How long an artifact link and its file live, in seconds.
ARTIFACT_TTL_S = env_int("DARKROOM_ARTIFACT_TTL_S", 24 * 3600, minimum=60, maximum=10 * 365 * 24 * 3600)
ARTIFACT_DIR = HOME_DIR / "artifacts"
# Pictures that requests bring, until their jobs have ended.
INPUT_DIR = HOME_DIR / "inputs"
# What becomes of unsuitable prompts and images where an account has no rule of its own: off looks at images
# only on request, flag at all of them, blur also blurs, block refuses. Minors are protected in any case.
SAFETY = env_choice("DARKROOM_SAFETY", "off", ("off", "flag", "blur", "block"))
# Folder of all models brought in, with staging and incoming; the starter model ships inside the repository.
MODEL_DIR = env_path("DARKROOM_MODEL_DIR", str(HOME_DIR / "models"))
STARTER_MODEL_DIR = REPOSITORY_ROOT / "gpu_runtime" / "starter"

# --- Fetching and importing models ---

# Addresses that may be fetched from although they are not on the open internet: CIDR or CIDR:port.
FETCH_ALLOW = env_list("DARKROOM_FETCH_ALLOW", "")
# Redirects followed from an address; each hop is checked like the first. Hubs redirect to their CDN.
FETCH_MAX_REDIRECTS = env_int("DARKROOM_FETCH_MAX_REDIRECTS", 3, minimum=0, maximum=10)
# Host names models may be imported from, CDNs of the source included; shell patterns.
IMPORT_HOSTS = env_list("DARKROOM_IMPORT_HOSTS", "*")
# The model hub, or a mirror that speaks its API.
HF_ENDPOINT = env_str("DARKROOM_HF_ENDPOINT", env_str("HF_ENDPOINT", "https://huggingface.co")).rstrip("/")
# The operator's token for the hub; used for imports of operators and administrators alone.
HF_TOKEN = env_optional_secret("DARKROOM_HF_TOKEN")
# The same for other hosts: civitai.com=TOKEN,models.example.com=TOKEN.
IMPORT_TOKENS = env_optional_secret("DARKROOM_IMPORT_TOKENS")
# Most bytes one import may fetch.
IMPORT_MAX_BYTES = env_int(
    "DARKROOM_IMPORT_MAX_BYTES", 200_000_000_000, minimum=1_000_000, maximum=10_000_000_000_000
)
# Connections of one import: files at once, and parts of one large file.
IMPORT_CONNECTIONS = env_int("DARKROOM_IMPORT_CONNECTIONS", 6, minimum=1, maximum=64)
# Imports that run at once; each converts in a process of its own.
IMPORT_WORKERS = env_int("DARKROOM_IMPORT_WORKERS", 1, minimum=1, maximum=8)
# Most megabytes of memory one conversion may take, beside the pages of the file that it reads.
IMPORT_MEMORY_MB = env_int("DARKROOM_IMPORT_MEMORY_MB", 6144, minimum=1024, maximum=10_000_000)

# --- Sign-in ---

# File of passwords known from breaches, "ordered by hash" as haveibeenpwned.com offers it: a line SHA-1:count
# each. Looked up on this machine, never asked of anybody; empty: only guessable passwords are refused.
BREACHED_PASSWORDS = env_str("DARKROOM_BREACHED_PASSWORDS", "")
# Reverse proxies of yours in front: that many addresses at the end of X-Forwarded-For are theirs. With 0,
# limits on attempts at signing in count all who come through one proxy together.
ALLAUTH_TRUSTED_PROXY_COUNT = env_int("DARKROOM_PROXY_COUNT", 0, minimum=0, maximum=5)
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/portal"
LOGOUT_REDIRECT_URL = "/"
CACHES = {
    # Counts of attempts, which must be the same in every web process: allauth knows this one alone. The table
    # goes with a migration of apps.accounts.
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "accounts_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
    # What each process may remember by itself for seconds, without asking anybody.
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
ACCOUNT_ADAPTER = "apps.accounts.adapters.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_FORMS = {
    "signup": "apps.accounts.forms.SignUpForm",
    "add_email": "apps.accounts.forms.AddressForm",
}
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
# Whoever signs up and confirms in one browser is in; another browser, which only has the link, is not.
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
# Programs that look at mails open links: opening one shows a button, and the button confirms.
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
# Whoever tries an address learns nothing of whether it has an account; its owner gets a mail.
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
# Beside allauth's own limits, and those of apps/accounts/limits.py. By itself it lets a stranger have five
# mails a minute sent to anybody.
ACCOUNT_RATE_LIMITS = {"reset_password": "20/m/ip,5/h/key"}
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if BASE_URL.startswith("https://") else "http"
SOCIALACCOUNT_ADAPTER = "apps.accounts.sso.SsoAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "mandatory"
# A sign-in begins with a form and its token: a foreign page's link or picture begins none.
SOCIALACCOUNT_LOGIN_ON_GET = False
# Whom a domain's provider has vouched for once stays the same person, whatever their address becomes.
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
USERSESSIONS_ADAPTER = "apps.accounts.sessions.SessionsAdapter"
MFA_ADAPTER = "apps.accounts.second_factors.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Darkroom"
# Browsers offer security keys on https pages, and on this machine's own address.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = BASE_URL.startswith("http://")
# Who says how many members an account may have: a function of the account; None is no limit.
SEATS_OF = "apps.plans.seats.seats_of"
# Functions that hear of a closed account, within its transaction: account, actor and now by name.
ACCOUNT_CLOSED_HOOKS: tuple[str, ...] = ("apps.plans.closing.end_subscriptions",)
# Grants what a coupon of credit is worth, within the transaction of its redemption.
COUPON_CREDIT = "apps.billing.ledger.services.grant"
# The maker's public key (PEM) by which licence files are judged; without it no licence can be installed.
LICENCE_PUBLIC_KEY = env_str("DARKROOM_LICENCE_PUBLIC_KEY", "").replace("\\n", "\n")

# --- Mail ---

# The mail server: smtp://user:password@host:587?tls=starttls (or ssl, or none). Without one, mails wait in
# the outbox, where operators read them and pass their links on.
SMTP_URL = env_optional_secret("DARKROOM_SMTP_URL")
# Sender of every mail, with a name or without: Darkroom <images@example.com>.
MAIL_FROM = env_str("DARKROOM_MAIL_FROM", "Darkroom <darkroom@localhost>")
# Seconds before each further attempt at a mail: eight of them, two days in all.
MAIL_RETRY_S = (60, 300, 900, 3600, 10_800, 28_800, 57_600, 72_000)
# Mail goes through the outbox (apps/mails); what Django would send past it goes nowhere.
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"

# --- Webhooks ---

# Whether webhooks must go to https addresses; plain http shows image links to whoever listens on the way.
WEBHOOK_HTTPS = env_bool("DARKROOM_WEBHOOK_HTTPS", True)
# How long an endpoint has for its answer, in seconds; the hosted service allows 30.
WEBHOOK_TIMEOUT_S = env_float("DARKROOM_WEBHOOK_TIMEOUT_S", 30.0, minimum=1.0, maximum=60.0)
# Most attempts at one endpoint at once; one at a time while it fails.
WEBHOOK_PER_ENDPOINT = env_int("DARKROOM_WEBHOOK_PER_ENDPOINT", 4, minimum=1, maximum=32)
# Days that the log of deliveries is kept; bodies go earlier, with the images that they link to.
WEBHOOK_LOG_DAYS = env_int("DARKROOM_WEBHOOK_LOG_DAYS", 30, minimum=1, maximum=3650)
# Attempts at all endpoints together; any one account gets at most half.
WEBHOOK_PLACES = 32
# Seconds before each further attempt, give or take a fifth: ten of them, three days in all.
WEBHOOK_RETRY_S = (5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 64_800, 79_200)
# Pauses of an endpoint that fails again and again, in seconds: the first, doubled each time, and the longest.
WEBHOOK_PAUSE_S = (30, 3600)
# Who renders the bodies of which dialect; see apps/webhooks/README.md.
WEBHOOK_BODIES = {
    "modelslab": "apps.api.modelslab.webhooks.webhook_body",
    "native": "apps.api.native.webhooks_render.webhook_body",
    "test": "apps.webhooks.bodies.test_body",
    "budget": "apps.quotas.announcing.budget_body",
}
# Who hears of the ends of imports that have a webhook; see apps/catalog/imports/announcing.py.
IMPORT_ENDED = "apps.generation.announcing.announce_import_end"

# --- Payments ---

# Stripe's secret key and its webhook endpoint's signing secret. The console's page takes over when it is
# first saved; without a key everything but checkout works.
STRIPE_SECRET_KEY = env_optional_secret("DARKROOM_STRIPE_SECRET_KEY")
STRIPE_WEBHOOK_SECRET = env_optional_secret("DARKROOM_STRIPE_WEBHOOK_SECRET")
# Where Stripe's API is: another address only for tests and demonstrations.
STRIPE_API_BASE = env_str("DARKROOM_STRIPE_API_BASE", "https://api.stripe.com").rstrip("/")

# --- GPU worker ---

# "torch", or "fake": deterministic pictures without a model, for load tests only. Responses say so.
RUNTIME = env_choice("DARKROOM_RUNTIME", "torch", ("torch", "fake"))
# "auto", "cpu" or "cuda:N"; `gpu_cluster --device` overrides it.
DEVICE = env_str("DARKROOM_DEVICE", "auto")
# CUDA's own: the devices that it may see, by number or UUID; empty is all. Read to find the same in NVML.
CUDA_VISIBLE_DEVICES = env_list("CUDA_VISIBLE_DEVICES", "")
# Most images that share one denoising step.
MAX_ROWS = env_int("DARKROOM_MAX_ROWS", 16, minimum=1, maximum=256)
# torch threads on the CPU; 0 takes one for each core.
CPU_THREADS = env_int("DARKROOM_CPU_THREADS", 0, minimum=0, maximum=1024)
# Megabytes of weights on each device; 0 derives it from the device's memory.
WEIGHTS_BUDGET_MB = env_int("DARKROOM_WEIGHTS_BUDGET_MB", 0, minimum=0, maximum=10_000_000)
# Megabytes of weights each worker keeps in host memory, one copy from the device; 0 is half of what is free.
STAGING_BUDGET_MB = env_int("DARKROOM_STAGING_BUDGET_MB", 0, minimum=0, maximum=10_000_000)
# Megabytes of LoRAs each worker keeps ready.
LORA_BUDGET_MB = env_int("DARKROOM_LORA_BUDGET_MB", 512, minimum=1, maximum=1_000_000)
# Seconds without use until weights leave the device; 0 keeps them until others need the room.
KEEP_ALIVE_S = env_float("DARKROOM_KEEP_ALIVE_S", 0.0, minimum=0.0, maximum=30 * 24 * 3600.0)
# What of each denoiser is compiled: off, regional (in the background), whole, or auto: regional on CUDA.
COMPILE = env_choice("DARKROOM_COMPILE", "auto", ("auto", "off", "regional", "whole"))
# Whether denoiser calls that repeat are replayed as CUDA graphs: off, or auto: on CUDA.
CUDA_GRAPHS = env_choice("DARKROOM_CUDA_GRAPHS", "auto", ("auto", "off"))
# Keep weights in fp8 as well, for requests of the fast tier on Hopper; half as much memory again.
FP8 = env_bool("DARKROOM_FP8", False)
# Rows of every denoiser call of the exact tier, even; changing it changes the bytes that a seed gives there.
EXACT_ROWS = env_int("DARKROOM_EXACT_ROWS", 2, minimum=2, maximum=64)
# Duration of one step of the fake runtime, in milliseconds.
FAKE_STEP_MS = env_float("DARKROOM_FAKE_STEP_MS", 0.0, minimum=0.0, maximum=60_000.0)
# How long a worker may be silent before its jobs are given to another, in seconds.
LEASE_S = env_float("DARKROOM_LEASE_S", 10.0, minimum=1.0, maximum=3600.0)
# How often a worker renews its leases, in seconds; several must fit in one lease.
HEARTBEAT_S = env_float("DARKROOM_HEARTBEAT_S", 2.0, minimum=0.1, maximum=600.0)
# How long a stopping worker may go on with what it has claimed, in seconds; the rest is re-queued.
DRAIN_GRACE_S = env_float("DARKROOM_DRAIN_GRACE_S", 10.0, minimum=0.0, maximum=600.0)
# How long a job may wait for a worker before it expires, in seconds.
QUEUE_TTL_S = env_int("DARKROOM_QUEUE_TTL_S", 3600, minimum=10, maximum=7 * 24 * 3600)
# Length of one run of the pump task, in seconds; the weights survive between runs.
PUMP_SLICE_S = 240.0
# Crashes of its worker after which a job is quarantined instead of tried again.
MAX_CRASHES = 2
# Shortest time before the watchdog takes a silent tick for a hang, in seconds.
WATCHDOG_MIN_S = env_float("DARKROOM_WATCHDOG_MIN_S", 60.0, minimum=1.0, maximum=3600.0)

# --- django-q2 ---

Q_CLUSTER = {
    "name": "default",
    "orm": "default",
    # One for short tasks, one that sends webhooks, one for when that hands over to its successor.
    "workers": 3,
    "timeout": 300,
    "retry": 360,
    "poll": 0.5,
    "save_limit": -1,
    "ack_failures": True,
    "max_attempts": 1,
    "guard_cycle": 0.5,
    "catch_up": False,
    "label": "Background tasks",
    "ALT_CLUSTERS": {
        # One resident task a device; see apps/generation/pump.py. A recycled worker would drop its weights.
        "gpu": {
            "workers": 1,
            "timeout": 600,
            "retry": 660,
            "recycle": 10**9,
            "max_rss": None,
            "queue_limit": 1,
            "bulk": 1,
            "poll": 0.05,
            "scheduler": False,
        },
        # Downloads and conversions take hours at worst and must not hold up the short tasks of housekeeping.
        "imports": {
            "workers": IMPORT_WORKERS,
            "timeout": 24 * 3600,
            "retry": 25 * 3600,
            "queue_limit": 1,
            "bulk": 1,
            # A new process for each import: whatever it held is given back.
            "recycle": 1,
            "scheduler": False,
        },
    },
}
